"""A store in a bucket of an object store that speaks S3's protocol. Imported only where `DEPOT_STORAGE` names one."""
