"""What a user writes: YAML → Dag, with places; expressions, parameters, items. Pure: no file and no network is touched."""
