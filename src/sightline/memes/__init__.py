"""Fine-tune a pretrained network to tell pictures of two games apart, and know what is neither."""
