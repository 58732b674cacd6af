"""What somebody who means harm would send; every attack comes up empty."""
