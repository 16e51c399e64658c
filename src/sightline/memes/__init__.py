"""Memes: transfer learning on pictures of two games, that knows what it does not know."""
