"""Several styles in one picture: what each way of combining them does, and when."""
