"""What a machine is and can do, found out by looking and timing on the machine itself; a device profile is made of it."""
