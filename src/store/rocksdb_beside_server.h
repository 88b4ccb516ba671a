// Looking at the checkpoint store of a server that may be running.
#pragma once

#include "store/kv_store.h"

namespace perdure::store {

// Like open_rocksdb_read_only(), but without a lock: it sees the rows of some moment, and reading fails where
// the server has removed the files that they were in. Good enough for names.
Result<std::unique_ptr<KvStore>> open_rocksdb_beside_server(env::Env& env, const std::string& path,
                                                            uint64_t cache_bytes);

}  // namespace perdure::store
