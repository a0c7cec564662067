"""The kinds of stores, one module each. Each alone imports its library, when the first address of its kind is used."""
