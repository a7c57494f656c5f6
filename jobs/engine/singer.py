"""Singer catalogs and states, as values. Pure."""
