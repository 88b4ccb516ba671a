#include "base/status.h"

namespace perdure {

const char* name(Status status) {
  switch (status) {
#define PERDURE_STATUS(s) \
  case Status::s:         \
    return #s;
    PERDURE_STATUS(ok)
    PERDURE_STATUS(not_permitted)
    PERDURE_STATUS(no_entry)
    PERDURE_STATUS(io_error)
    PERDURE_STATUS(access_denied)
    PERDURE_STATUS(exists)
    PERDURE_STATUS(cross_device)
    PERDURE_STATUS(not_directory)
    PERDURE_STATUS(is_directory)
    PERDURE_STATUS(is_symlink)
    PERDURE_STATUS(wrong_type)
    PERDURE_STATUS(bad_type)
    PERDURE_STATUS(invalid_argument)
    PERDURE_STATUS(too_big)
    PERDURE_STATUS(no_such_range)
    PERDURE_STATUS(no_space)
    PERDURE_STATUS(quota_exceeded)
    PERDURE_STATUS(read_only)
    PERDURE_STATUS(too_many_links)
    PERDURE_STATUS(name_too_long)
    PERDURE_STATUS(bad_name)
    PERDURE_STATUS(bad_character)
    PERDURE_STATUS(not_empty)
    PERDURE_STATUS(stale)
    PERDURE_STATUS(bad_handle)
    PERDURE_STATUS(bad_cookie)
    PERDURE_STATUS(not_supported)
    PERDURE_STATUS(too_small)
    PERDURE_STATUS(no_xattr)
    PERDURE_STATUS(xattr_too_big)
    PERDURE_STATUS(delay)
    PERDURE_STATUS(server_fault)
    PERDURE_STATUS(bad_stateid)
    PERDURE_STATUS(old_stateid)
    PERDURE_STATUS(expired)
    PERDURE_STATUS(admin_revoked)
    PERDURE_STATUS(open_mode)
    PERDURE_STATUS(share_denied)
    PERDURE_STATUS(locked)
    PERDURE_STATUS(lock_denied)
    PERDURE_STATUS(deadlock)
    PERDURE_STATUS(lock_range)
    PERDURE_STATUS(bad_range)
    PERDURE_STATUS(locks_held)
    PERDURE_STATUS(file_open)
    PERDURE_STATUS(grace)
    PERDURE_STATUS(no_grace)
    PERDURE_STATUS(reclaim_bad)
    PERDURE_STATUS(reclaim_conflict)
    PERDURE_STATUS(stale_client)
    PERDURE_STATUS(client_in_use)
    PERDURE_STATUS(client_busy)
    PERDURE_STATUS(bad_session)
    PERDURE_STATUS(bad_slot)
    PERDURE_STATUS(seq_misordered)
    PERDURE_STATUS(seq_false_retry)
    PERDURE_STATUS(retry_uncached)
    PERDURE_STATUS(conn_not_bound)
    PERDURE_STATUS(back_chan_busy)
    PERDURE_STATUS(complete_already)
    PERDURE_STATUS(not_same)
    PERDURE_STATUS(wrong_credential)
    PERDURE_STATUS(encr_alg_unsupported)
    PERDURE_STATUS(resource)
#undef PERDURE_STATUS
  }
  return "?";
}

}  // namespace perdure
