// Where the data of a WRITE lie in a call, found while it is being received: so they can be received into
// pages (wire/record_reader.h). No other operation brings much.
#pragma once

#include "wire/record_reader.h"

namespace perdure::nfs4 {

// A wire::FindData: for a call of NFSv4 that is SEQUENCE, PUTFH, WRITE and what follows. `beginning` is
// hostile; if what comes later is not what it promises, nothing but a copy is lost.
std::optional<wire::DataPlace> find_write_data(Bytes beginning);

}  // namespace perdure::nfs4
