"""The nouns of a project and the readers that turn files into them."""
