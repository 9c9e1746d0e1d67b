"""The strains, by what is strained."""
