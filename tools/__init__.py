"""Programs beside the product: set-up and the demo."""
