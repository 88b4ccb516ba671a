#include "bench/nfs.h"

#include <fmt/format.h>

namespace perdure::bench {

std::string_view op_name(Op op) {
  switch (op) {
    case Op::ACCESS:
      return "ACCESS";
    case Op::CLOSE:
      return "CLOSE";
    case Op::COMMIT:
      return "COMMIT";
    case Op::CREATE:
      return "CREATE";
    case Op::DELEGRETURN:
      return "DELEGRETURN";
    case Op::GETATTR:
      return "GETATTR";
    case Op::GETFH:
      return "GETFH";
    case Op::LINK:
      return "LINK";
    case Op::LOCK:
      return "LOCK";
    case Op::LOCKT:
      return "LOCKT";
    case Op::LOCKU:
      return "LOCKU";
    case Op::LOOKUP:
      return "LOOKUP";
    case Op::OPEN:
      return "OPEN";
    case Op::OPEN_CONFIRM:
      return "OPEN_CONFIRM";
    case Op::OPEN_DOWNGRADE:
      return "OPEN_DOWNGRADE";
    case Op::PUTFH:
      return "PUTFH";
    case Op::PUTROOTFH:
      return "PUTROOTFH";
    case Op::READ:
      return "READ";
    case Op::READDIR:
      return "READDIR";
    case Op::READLINK:
      return "READLINK";
    case Op::REMOVE:
      return "REMOVE";
    case Op::RENAME:
      return "RENAME";
    case Op::RENEW:
      return "RENEW";
    case Op::RESTOREFH:
      return "RESTOREFH";
    case Op::SAVEFH:
      return "SAVEFH";
    case Op::SETATTR:
      return "SETATTR";
    case Op::SETCLIENTID:
      return "SETCLIENTID";
    case Op::SETCLIENTID_CONFIRM:
      return "SETCLIENTID_CONFIRM";
    case Op::WRITE:
      return "WRITE";
    case Op::RELEASE_LOCKOWNER:
      return "RELEASE_LOCKOWNER";
    case Op::BACKCHANNEL_CTL:
      return "BACKCHANNEL_CTL";
    case Op::BIND_CONN_TO_SESSION:
      return "BIND_CONN_TO_SESSION";
    case Op::EXCHANGE_ID:
      return "EXCHANGE_ID";
    case Op::CREATE_SESSION:
      return "CREATE_SESSION";
    case Op::DESTROY_SESSION:
      return "DESTROY_SESSION";
    case Op::FREE_STATEID:
      return "FREE_STATEID";
    case Op::SEQUENCE:
      return "SEQUENCE";
    case Op::TEST_STATEID:
      return "TEST_STATEID";
    case Op::DESTROY_CLIENTID:
      return "DESTROY_CLIENTID";
    case Op::RECLAIM_COMPLETE:
      return "RECLAIM_COMPLETE";
    case Op::ALLOCATE:
      return "ALLOCATE";
    case Op::OFFLOAD_CANCEL:
      return "OFFLOAD_CANCEL";
    case Op::OFFLOAD_STATUS:
      return "OFFLOAD_STATUS";
    case Op::COPY:
      return "COPY";
    case Op::DEALLOCATE:
      return "DEALLOCATE";
    case Op::IO_ADVISE:
      return "IO_ADVISE";
    case Op::READ_PLUS:
      return "READ_PLUS";
    case Op::SEEK:
      return "SEEK";
    case Op::CLONE:
      return "CLONE";
    case Op::GETXATTR:
      return "GETXATTR";
    case Op::SETXATTR:
      return "SETXATTR";
    case Op::LISTXATTRS:
      return "LISTXATTRS";
    case Op::REMOVEXATTR:
      return "REMOVEXATTR";
  }
  return "?";
}

namespace {

struct StatusName {
  uint32_t number;
  std::string_view name;
};

constexpr StatusName status_names[] = {
    {0, "OK"},
    {1, "PERM"},
    {2, "NOENT"},
    {5, "IO"},
    {6, "NXIO"},
    {13, "ACCESS"},
    {17, "EXIST"},
    {18, "XDEV"},
    {20, "NOTDIR"},
    {21, "ISDIR"},
    {22, "INVAL"},
    {27, "FBIG"},
    {28, "NOSPC"},
    {30, "ROFS"},
    {31, "MLINK"},
    {63, "NAMETOOLONG"},
    {66, "NOTEMPTY"},
    {69, "DQUOT"},
    {70, "STALE"},
    {10001, "BADHANDLE"},
    {10003, "BAD_COOKIE"},
    {10004, "NOTSUPP"},
    {10005, "TOOSMALL"},
    {10006, "SERVERFAULT"},
    {10007, "BADTYPE"},
    {10008, "DELAY"},
    {10009, "SAME"},
    {10010, "DENIED"},
    {10011, "EXPIRED"},
    {10012, "LOCKED"},
    {10013, "GRACE"},
    {10014, "FHEXPIRED"},
    {10015, "SHARE_DENIED"},
    {10016, "WRONGSEC"},
    {10017, "CLID_INUSE"},
    {10019, "MOVED"},
    {10020, "NOFILEHANDLE"},
    {10021, "MINOR_VERS_MISMATCH"},
    {10022, "STALE_CLIENTID"},
    {10023, "STALE_STATEID"},
    {10024, "OLD_STATEID"},
    {10001, "BADHANDLE"},
    {10025, "BAD_STATEID"},
    {10026, "BAD_SEQID"},
    {10027, "NOT_SAME"},
    {10028, "LOCK_RANGE"},
    {10029, "SYMLINK"},
    {10030, "RESTOREFH"},
    {10032, "ATTRNOTSUPP"},
    {10033, "NO_GRACE"},
    {10034, "RECLAIM_BAD"},
    {10035, "RECLAIM_CONFLICT"},
    {10036, "BADXDR"},
    {10037, "LOCKS_HELD"},
    {10038, "OPENMODE"},
    {10039, "BADOWNER"},
    {10040, "BADCHAR"},
    {10041, "BADNAME"},
    {10042, "BAD_RANGE"},
    {10043, "LOCK_NOTSUPP"},
    {10044, "OP_ILLEGAL"},
    {10045, "DEADLOCK"},
    {10046, "FILE_OPEN"},
    {10047, "ADMIN_REVOKED"},
    {10048, "CB_PATH_DOWN"},
    {10049, "BADIOMODE"},
    {10050, "BADLAYOUT"},
    {10051, "BAD_SESSION_DIGEST"},
    {10052, "BADSESSION"},
    {10053, "BADSLOT"},
    {10054, "COMPLETE_ALREADY"},
    {10055, "CONN_NOT_BOUND_TO_SESSION"},
    {10056, "DELEG_ALREADY_WANTED"},
    {10057, "BACK_CHAN_BUSY"},
    {10058, "LAYOUTTRYLATER"},
    {10059, "LAYOUTUNAVAILABLE"},
    {10060, "NOMATCHING_LAYOUT"},
    {10061, "RECALLCONFLICT"},
    {10062, "UNKNOWN_LAYOUTTYPE"},
    {10063, "SEQ_MISORDERED"},
    {10064, "SEQUENCE_POS"},
    {10065, "REQ_TOO_BIG"},
    {10066, "REP_TOO_BIG"},
    {10067, "REP_TOO_BIG_TO_CACHE"},
    {10068, "RETRY_UNCACHED_REP"},
    {10069, "UNSAFE_COMPOUND"},
    {10070, "TOO_MANY_OPS"},
    {10071, "OP_NOT_IN_SESSION"},
    {10072, "HASH_ALG_UNSUPP"},
    {10074, "CLIENTID_BUSY"},
    {10075, "PNFS_IO_HOLE"},
    {10076, "SEQ_FALSE_RETRY"},
    {10077, "BAD_HIGH_SLOT"},
    {10078, "DEADSESSION"},
    {10079, "ENCR_ALG_UNSUPP"},
    {10080, "PNFS_NO_LAYOUT"},
    {10081, "NOT_ONLY_OP"},
    {10082, "WRONG_CRED"},
    {10083, "WRONG_TYPE"},
    {10084, "DIRDELEG_UNAVAIL"},
    {10085, "REJECT_DELEG"},
    {10086, "RETURNCONFLICT"},
    {10087, "DELEG_REVOKED"},
    {10095, "NOXATTR"},
    {10096, "XATTR2BIG"},
    {UINT32_MAX, "malformed reply"},
};

}  // namespace

std::string status_name(NfsStatus status) {
  for (const StatusName& s : status_names) {
    if (s.number == static_cast<uint32_t>(status)) return std::string(s.name);
  }
  return fmt::format("status {}", static_cast<uint32_t>(status));
}

}  // namespace perdure::bench
