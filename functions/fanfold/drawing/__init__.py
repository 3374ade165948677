"""A DAG as a picture: Mermaid text and SVG."""
