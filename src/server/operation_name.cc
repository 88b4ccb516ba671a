#include "server/operation_name.h"

#include "nfs4/types.h"
#include "server/job.h"

namespace perdure::server {

bool is_internal(uint16_t operation) {
  return operation >= static_cast<uint16_t>(InternalOperation::reclaim);
}

std::string operation_name(uint16_t operation) {
  switch (static_cast<InternalOperation>(operation)) {
    case InternalOperation::reclaim:
      return "reclaim";
    case InternalOperation::expire_client:
      return "expire_client";
    case InternalOperation::write_back:
      return "write_back";
    case InternalOperation::free_blocks:
      return "free_blocks";
    case InternalOperation::make_volume:
      return "make_volume";
    case InternalOperation::set_exports:
      return "set_exports";
    case InternalOperation::lock_wait:
      return "lock_wait";
    case InternalOperation::async_copy:
      return "async_copy";
    case InternalOperation::begin_epoch:
      return "begin_epoch";
    case InternalOperation::recall:
      return "recall";
  }
  const std::string name = nfs4::name(static_cast<nfs4::Opnum4>(operation));
  return name.starts_with("OP_") ? name.substr(3) : name;
}

}  // namespace perdure::server
