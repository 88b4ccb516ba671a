// NFSv4.1 and 4.2 as a client says it: numbers and small types of RFC 8881 and RFC 5662, with the RFC's
// names. Kept apart from the server's: a load generator that shared its tables would agree with the server's
// mistakes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace perdure::bench {

inline constexpr uint32_t nfs_program = 100003;
inline constexpr uint32_t nfs_version = 4;

enum class Op : uint32_t {
  ACCESS = 3,
  CLOSE = 4,
  COMMIT = 5,
  CREATE = 6,
  DELEGRETURN = 8,
  GETATTR = 9,
  GETFH = 10,
  LINK = 11,
  LOCK = 12,
  LOCKT = 13,
  LOCKU = 14,
  LOOKUP = 15,
  OPEN = 18,
  OPEN_CONFIRM = 20,
  OPEN_DOWNGRADE = 21,
  PUTFH = 22,
  PUTROOTFH = 24,
  READ = 25,
  READDIR = 26,
  READLINK = 27,
  REMOVE = 28,
  RENAME = 29,
  RENEW = 30,
  RESTOREFH = 31,
  SAVEFH = 32,
  SETATTR = 34,
  SETCLIENTID = 35,
  SETCLIENTID_CONFIRM = 36,
  WRITE = 38,
  RELEASE_LOCKOWNER = 39,
  BACKCHANNEL_CTL = 40,
  BIND_CONN_TO_SESSION = 41,
  EXCHANGE_ID = 42,
  CREATE_SESSION = 43,
  DESTROY_SESSION = 44,
  FREE_STATEID = 45,
  SEQUENCE = 53,
  TEST_STATEID = 55,
  DESTROY_CLIENTID = 57,
  RECLAIM_COMPLETE = 58,
  ALLOCATE = 59,
  COPY = 60,
  DEALLOCATE = 62,
  IO_ADVISE = 63,
  OFFLOAD_CANCEL = 66,
  OFFLOAD_STATUS = 67,
  READ_PLUS = 68,
  SEEK = 69,
  CLONE = 71,
  GETXATTR = 72,
  SETXATTR = 73,
  LISTXATTRS = 74,
  REMOVEXATTR = 75,
};
std::string_view op_name(Op op);

// nfsstat4. Any number may arrive; those that this client looks at have a name here, status_name() knows all.
enum class NfsStatus : uint32_t {
  NFS4_OK = 0,
  NFS4ERR_PERM = 1,
  NFS4ERR_NOENT = 2,
  NFS4ERR_IO = 5,
  NFS4ERR_ACCESS = 13,
  NFS4ERR_EXIST = 17,
  NFS4ERR_NOTDIR = 20,
  NFS4ERR_INVAL = 22,
  NFS4ERR_NOSPC = 28,
  NFS4ERR_NOTEMPTY = 66,
  NFS4ERR_STALE = 70,
  NFS4ERR_DELAY = 10008,
  NFS4ERR_DENIED = 10010,
  NFS4ERR_LOCKED = 10012,
  NFS4ERR_GRACE = 10013,
  NFS4ERR_SHARE_DENIED = 10015,
  NFS4ERR_STALE_CLIENTID = 10022,
  NFS4ERR_OPENMODE = 10038,
  NFS4ERR_SEQ_MISORDERED = 10063,
  NFS4ERR_BADSESSION = 10052,
  NFS4ERR_REP_TOO_BIG_TO_CACHE = 10067,
  NFS4ERR_BADHANDLE = 10001,
  NFS4ERR_NOTSUPP = 10004,
  NFS4ERR_BAD_STATEID = 10025,
  NFS4ERR_RETRY_UNCACHED_REP = 10068,
  NFS4ERR_EXPIRED = 10011,
  NFS4ERR_CB_PATH_DOWN = 10048,
  NFS4ERR_DELEG_REVOKED = 10087,
  NFS4ERR_NOXATTR = 10095,
  NFS4ERR_XATTR2BIG = 10096,
  malformed = UINT32_MAX,  // not from the wire: the reply could not be understood
};
std::string status_name(NfsStatus status);

enum class FileType : uint32_t { none = 0, NF4REG = 1, NF4DIR = 2, NF4LNK = 5, NF4FIFO = 7 };

// Attribute numbers (RFC 8881 §5.6 and §5.7), as bits of the first and the second bitmap word.
namespace attr {
inline constexpr uint64_t bit(unsigned number) {
  return uint64_t{1} << number;
}
inline constexpr uint64_t TYPE = bit(1);
inline constexpr uint64_t CHANGE = bit(3);
inline constexpr uint64_t SIZE = bit(4);
inline constexpr uint64_t FSID = bit(8);
inline constexpr uint64_t ACL = bit(12);
inline constexpr uint64_t FILEHANDLE = bit(19);
inline constexpr uint64_t FILEID = bit(20);
inline constexpr uint64_t MODE = bit(33);
inline constexpr uint64_t NUMLINKS = bit(35);
inline constexpr uint64_t OWNER = bit(36);
inline constexpr uint64_t OWNER_GROUP = bit(37);
inline constexpr uint64_t RAWDEV = bit(41);
inline constexpr uint64_t SPACE_AVAIL = bit(42);
inline constexpr uint64_t SPACE_FREE = bit(43);
inline constexpr uint64_t SPACE_USED = bit(45);
inline constexpr uint64_t TIME_ACCESS = bit(47);
inline constexpr uint64_t TIME_METADATA = bit(52);
inline constexpr uint64_t TIME_MODIFY = bit(53);
inline constexpr uint64_t MOUNTED_ON_FILEID = bit(55);
// What a Linux client asks for when it revalidates a file.
inline constexpr uint64_t usual = TYPE | CHANGE | SIZE | FSID | FILEID | MODE | NUMLINKS | OWNER |
                                  OWNER_GROUP | RAWDEV | SPACE_USED | TIME_ACCESS | TIME_METADATA |
                                  TIME_MODIFY | MOUNTED_ON_FILEID;
}  // namespace attr

// nfsace4
struct Ace {
  uint32_t type = 0, flags = 0, mask = 0;
  std::string who;
};

// The attributes that are compared with something. `present` says which ones the server gave (bits of attr).
struct Attributes {
  uint64_t present = 0;
  FileType type = FileType::none;
  uint64_t change = 0;
  uint64_t size = 0;
  uint64_t fileid = 0;
  uint32_t mode = 0;
  uint32_t numlinks = 0;
  uint64_t space_avail = 0;
  uint64_t space_used = 0;
  std::vector<Ace> acl;
};

inline constexpr size_t filehandle_bytes_max = 128;
struct FileHandle {
  uint32_t size = 0;
  std::array<std::byte, filehandle_bytes_max> data{};

  Bytes bytes() const { return {data.data(), size}; }
};

struct Stateid {
  uint32_t seqid = 0;
  std::array<std::byte, 12> other{};  // all zeros with seqid 0: the anonymous stateid
};

using SessionId = std::array<std::byte, 16>;
using Verifier = std::array<std::byte, 8>;

struct ChangeInfo {
  bool atomic = false;
  uint64_t before = 0;
  uint64_t after = 0;
};

enum class StableHow : uint32_t { UNSTABLE4 = 0, DATA_SYNC4 = 1, FILE_SYNC4 = 2 };
enum class CreateMode : uint32_t { UNCHECKED4 = 0, GUARDED4 = 1, EXCLUSIVE4_1 = 3 };
enum class XattrHow : uint32_t { EITHER = 0, CREATE = 1, REPLACE = 2 };
enum class LockType : uint32_t { READ_LT = 1, WRITE_LT = 2, READW_LT = 3, WRITEW_LT = 4 };

inline constexpr uint32_t share_access_read = 1;
inline constexpr uint32_t share_access_write = 2;
inline constexpr uint32_t share_access_both = 3;
// No delegation, please: there is no back channel to recall it through.
inline constexpr uint32_t share_access_want_no_deleg = 0x400;

inline constexpr uint32_t access_all = 0x3f;  // ACCESS4_READ to ACCESS4_EXECUTE

inline constexpr uint32_t create_session_persist = 1;
inline constexpr uint32_t create_session_back_channel = 2;
inline constexpr uint32_t callback_program = 0x40000000;
inline constexpr uint32_t callback_ident = 1;  // of NFSv4.0

inline constexpr uint64_t lock_to_end = UINT64_MAX;

}  // namespace perdure::bench
