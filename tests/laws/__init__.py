"""Laws that hold for every kind and every file: on the model kernel, and on a real one."""
