"""Speed, measured side by side with QEMU on the same machine: see README.md."""
