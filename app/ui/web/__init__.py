"""What stands between the network and the studio: one small check a module, put together in `middleware`."""
