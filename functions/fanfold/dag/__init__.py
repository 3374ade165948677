"""What a user writes: YAML → Dag, with places; expressions, parameters, items. Pure: touches no file and no network."""
