"""Plugin environments: where they are, what is in them, and the commands that build them."""
