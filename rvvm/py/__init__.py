"""The Python half: boards, devices, loading, the console, views. It never interprets an instruction."""
