"""What the operating system needs: files written whole, locks, and forks."""
