/** Repositories of the hub by id and revision, in the cache that Python's huggingface_hub shares. */
export { type HubOptions, hubCacheFolder, hubEndpoint, isOffline, type Repository } from './hub/access.js'
export { gigabytes, type RemoteFile } from './hub/blobs.js'
export { readLocalHeader, readRemoteHeader } from './hub/headers.js'
export { downloadSnapshot, listSnapshot, openSnapshot, repositoryFolder, type SnapshotListing } from './hub/snapshot.js'
