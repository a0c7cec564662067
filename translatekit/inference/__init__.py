"""From images of any size and number to their translations, by whatever runs the model."""
