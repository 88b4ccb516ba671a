// The identifiers and quantities that more than one directory speaks of.
#pragma once

#include "base/strong.h"

namespace perdure {

// A position in a vserver's state machine log, in bytes since the log was created. It grows for ever; the
// ring maps it to a place on the disk. A record's LSN is the position of its first byte. The record with LSN
// x is durable when GroupCommit::durable() > x.
using Lsn = Strong<struct LsnTag>;

// Grows by one whenever a vserver's primary or its set of in-sync copies changes (DESIGN.md §6).
using Epoch = Strong<struct EpochTag>;

// Grows by one at every start of a server process for a vserver (DESIGN.md §10 rule 1). Durable before its
// first record.
using StartNumber = Strong<struct StartNumberTag>;

// A file system object. Never given twice within a volume's life; also NFS's fileid.
using InodeId = Strong<struct InodeIdTag>;

// A file transaction: epoch << transaction_counter_bits | counter. Never given twice.
using TransactionId = Strong<struct TransactionIdTag>;
inline constexpr unsigned transaction_counter_bits = 40;

// A block of 4 KiB in the block store.
using BlockNo = Strong<struct BlockNoTag>;

// A block of 4 KiB within a file: byte offset / 4096.
using FileBlock = Strong<struct FileBlockTag>;

using ByteOffset = Strong<struct ByteOffsetTag>;

inline constexpr uint32_t block_bytes = 4096;

}  // namespace perdure
