"""Language models: the scene they read, the engines that run them."""
