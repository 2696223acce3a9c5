"""Where the frames of a network device go to and come from."""
