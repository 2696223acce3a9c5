"""The Python half: boards, devices, loading, console, views. It interprets no instruction."""
