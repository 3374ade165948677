"""The page for DAGs, runs and fan-outs. Reads runs through `fanfold.history.run_store.RunStore` alone."""
