"""What `longtake new` writes: files that run as they are. No command imports them from here."""
