"""A DAG file → AWS: immutable DAG objects and state machines, desired state against actual."""
