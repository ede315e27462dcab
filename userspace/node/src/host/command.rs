//! Running the tools of the firewalls.
