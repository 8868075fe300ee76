"""`oriole journal`: looks after what nodes keep on disks, whether they run or not (docs/durability.md)."""
