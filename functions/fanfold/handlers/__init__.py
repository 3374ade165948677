"""The Lambda functions: an event in, an answer out.

Each has ``handle(event, context)`` as its entry point on AWS; a local run calls the same function with its own
`Runtime`.
"""
