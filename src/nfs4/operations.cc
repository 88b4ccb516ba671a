#include "nfs4/operations.h"

#include <algorithm>
#include <array>

namespace perdure::nfs4 {

namespace {

using enum Opnum4;
using enum Operation::Place;

constexpr bool yes = true;

// Sorted by number. Results of up to: change_info4 20 bytes, stateid 16, bitmap4 16, file handle 28.
constexpr std::array operations{
    Operation{.number = OP_ACCESS, .execute = op_access, .needs_current = yes},
    Operation{.number = OP_CLOSE, .execute = op_close, .needs_current = yes, .result_bytes_max = 16},
    Operation{.number = OP_COMMIT, .execute = op_commit, .needs_current = yes, .result_bytes_max = 8},
    Operation{.number = OP_CREATE,
              .execute = op_create,
              .needs_current = yes,
              .writes = yes,
              .result_bytes_max = 36},
    Operation{.number = OP_DELEGRETURN, .execute = op_delegreturn, .needs_current = yes},
    Operation{.number = OP_GETATTR, .execute = op_getattr, .needs_current = yes, .asks_where = yes},
    Operation{.number = OP_GETFH, .execute = op_getfh, .needs_current = yes},
    Operation{.number = OP_LINK,
              .execute = op_link,
              .needs_current = yes,
              .needs_saved = yes,
              .writes = yes,
              .result_bytes_max = 20},
    // A denied LOCK or LOCKT names the owner that is in the way.
    Operation{.number = OP_LOCK,
              .execute = op_lock,
              .needs_current = yes,
              .result_bytes_max = 32 + opaque_bytes_max,
              .keeps_error = yes},
    Operation{.number = OP_LOCKT, .execute = op_lockt, .needs_current = yes},
    Operation{.number = OP_LOCKU, .execute = op_locku, .needs_current = yes, .result_bytes_max = 16},
    Operation{.number = OP_LOOKUP, .execute = op_lookup, .needs_current = yes},
    Operation{.number = OP_LOOKUPP, .execute = op_lookupp, .needs_current = yes},
    Operation{.number = OP_NVERIFY, .execute = op_nverify, .needs_current = yes},
    Operation{.number = OP_OPEN, .execute = op_open, .needs_current = yes, .result_bytes_max = 160},
    Operation{.number = OP_OPEN_CONFIRM,
              .execute = op_open_confirm,
              .last_minor_version = 0,
              .needs_current = yes,
              .result_bytes_max = 16},
    Operation{.number = OP_OPEN_DOWNGRADE,
              .execute = op_open_downgrade,
              .needs_current = yes,
              .result_bytes_max = 16},
    Operation{.number = OP_PUTFH, .execute = op_putfh},
    Operation{.number = OP_PUTPUBFH, .execute = op_putpubfh},
    Operation{.number = OP_PUTROOTFH, .execute = op_putrootfh},
    Operation{.number = OP_READ, .execute = op_read, .needs_current = yes},
    Operation{.number = OP_READDIR, .execute = op_readdir, .needs_current = yes},
    Operation{.number = OP_READLINK, .execute = op_readlink, .needs_current = yes},
    Operation{.number = OP_REMOVE,
              .execute = op_remove,
              .needs_current = yes,
              .writes = yes,
              .result_bytes_max = 20},
    Operation{.number = OP_RENAME,
              .execute = op_rename,
              .needs_current = yes,
              .needs_saved = yes,
              .writes = yes,
              .result_bytes_max = 40},
    Operation{.number = OP_RENEW, .execute = op_renew, .last_minor_version = 0},
    Operation{.number = OP_RESTOREFH, .execute = op_restorefh},
    Operation{.number = OP_SAVEFH, .execute = op_savefh, .needs_current = yes},
    Operation{.number = OP_SECINFO, .execute = op_secinfo, .needs_current = yes},
    Operation{.number = OP_SETATTR,
              .execute = op_setattr,
              .needs_current = yes,
              .writes = yes,
              .result_bytes_max = 16,
              .empty_bitmap_on_error = yes},
    Operation{
        .number = OP_SETCLIENTID, .execute = op_setclientid, .last_minor_version = 0, .result_bytes_max = 16},
    Operation{.number = OP_SETCLIENTID_CONFIRM, .execute = op_setclientid_confirm, .last_minor_version = 0},
    Operation{.number = OP_VERIFY, .execute = op_verify, .needs_current = yes},
    Operation{
        .number = OP_WRITE, .execute = op_write, .needs_current = yes, .writes = yes, .result_bytes_max = 16},
    Operation{.number = OP_RELEASE_LOCKOWNER, .execute = op_release_lockowner, .last_minor_version = 0},
    Operation{.number = OP_BACKCHANNEL_CTL, .execute = op_backchannel_ctl, .minor_version = 1},
    Operation{.number = OP_BIND_CONN_TO_SESSION,
              .execute = op_bind_conn_to_session,
              .place = alone,
              .minor_version = 1},
    Operation{.number = OP_EXCHANGE_ID, .execute = op_exchange_id, .place = sole, .minor_version = 1},
    Operation{.number = OP_CREATE_SESSION,
              .execute = op_create_session,
              .place = sole,
              .minor_version = 1,
              .keeps_error = yes},
    Operation{.number = OP_DESTROY_SESSION, .execute = op_destroy_session, .place = sole, .minor_version = 1},
    Operation{.number = OP_FREE_STATEID, .execute = op_free_stateid, .minor_version = 1},
    Operation{.number = OP_SECINFO_NO_NAME,
              .execute = op_secinfo_no_name,
              .minor_version = 1,
              .needs_current = yes},
    Operation{.number = OP_SEQUENCE, .execute = op_sequence, .place = first, .minor_version = 1},
    Operation{.number = OP_TEST_STATEID, .execute = op_test_stateid, .minor_version = 1},
    Operation{
        .number = OP_DESTROY_CLIENTID, .execute = op_destroy_clientid, .place = sole, .minor_version = 1},
    Operation{.number = OP_RECLAIM_COMPLETE, .execute = op_reclaim_complete, .minor_version = 1},
    Operation{.number = OP_ALLOCATE,
              .execute = op_allocate,
              .minor_version = 2,
              .needs_current = yes,
              .writes = yes},
    Operation{.number = OP_COPY,
              .execute = op_copy,
              .minor_version = 2,
              .needs_current = yes,
              .needs_saved = yes,
              .writes = yes,
              .result_bytes_max = 48},
    Operation{.number = OP_DEALLOCATE,
              .execute = op_deallocate,
              .minor_version = 2,
              .needs_current = yes,
              .writes = yes},
    Operation{.number = OP_IO_ADVISE, .execute = op_io_advise, .minor_version = 2, .needs_current = yes},
    Operation{
        .number = OP_OFFLOAD_CANCEL, .execute = op_offload_cancel, .minor_version = 2, .needs_current = yes},
    Operation{
        .number = OP_OFFLOAD_STATUS, .execute = op_offload_status, .minor_version = 2, .needs_current = yes},
    Operation{.number = OP_READ_PLUS, .execute = op_read_plus, .minor_version = 2, .needs_current = yes},
    Operation{.number = OP_SEEK, .execute = op_seek, .minor_version = 2, .needs_current = yes},
    Operation{.number = OP_CLONE,
              .execute = op_clone,
              .minor_version = 2,
              .needs_current = yes,
              .needs_saved = yes,
              .writes = yes},
    Operation{.number = OP_GETXATTR, .execute = op_getxattr, .minor_version = 2, .needs_current = yes},
    Operation{.number = OP_SETXATTR,
              .execute = op_setxattr,
              .minor_version = 2,
              .needs_current = yes,
              .writes = yes,
              .result_bytes_max = 20},
    Operation{.number = OP_LISTXATTRS, .execute = op_listxattrs, .minor_version = 2, .needs_current = yes},
    Operation{.number = OP_REMOVEXATTR,
              .execute = op_removexattr,
              .minor_version = 2,
              .needs_current = yes,
              .writes = yes,
              .result_bytes_max = 20},
};

constexpr bool by_number(const Operation& a, const Operation& b) {
  return a.number < b.number;
}
static_assert(std::is_sorted(operations.begin(), operations.end(), by_number));

constexpr auto by_opnum = [] {
  std::array<const Operation*, static_cast<size_t>(OP_REMOVEXATTR) + 1> table{};
  for (const Operation& operation : operations) table[static_cast<size_t>(operation.number)] = &operation;
  return table;
}();

}  // namespace

const Operation* find_operation(Opnum4 number, uint32_t minor_version) {
  const auto n = static_cast<size_t>(number);
  const Operation* operation = n < by_opnum.size() ? by_opnum[n] : nullptr;
  return operation != nullptr && operation->minor_version <= minor_version &&
                 minor_version <= operation->last_minor_version
             ? operation
             : nullptr;
}

bool is_legal(uint32_t number, uint32_t minor_version) {
  const Opnum4 last = minor_version >= 2   ? OP_REMOVEXATTR
                      : minor_version == 1 ? OP_RECLAIM_COMPLETE
                                           : OP_RELEASE_LOCKOWNER;
  return number >= static_cast<uint32_t>(OP_ACCESS) && number <= static_cast<uint32_t>(last);
}

}  // namespace perdure::nfs4
