"""HAND-OVER: from batches to a training framework. Each folder is the sole importer of one."""
