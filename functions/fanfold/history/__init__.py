"""What runs have left and how they go on: one interface, for the data folder of a laptop and for a stack."""
