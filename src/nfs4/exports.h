// Exports: which volumes clients see, under which paths, and as whom they act there.
//
// An export is a volume that is mounted on a path. What has no export above it stands in a volume of its own
// (pseudo_volume): directories that lead to the exports and nothing else, which everybody may read and nobody
// may change (RFC 8881 §7.3). So the way to an export consists of directories like any others, with handles,
// cookies and attributes that stay valid; only where one of them is covered by a volume, the volume's root
// takes its place.
//
// Thread: the vserver's loop.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <functional>
#include <string>
#include <vector>

#include "fs/volume.h"
#include "wire/request.h"

namespace perdure::nfs4 {

enum class Squash : uint8_t { none, root, all };

// Where else a file system is (fs_location4).
struct Location {
  std::string server;  // a name or address
  std::string path;    // there; absolute
};

// How a volume is exported to some clients. Several for one path: the first one that admits a client counts.
struct Export {
  std::string path = "/";          // absolute, without a slash at the end
  std::string volume = "volume1";  // the same for all of one path, and another one for each path
  std::function<bool(const wire::Address&)> admits = [](const wire::Address&) { return true; };
  bool read_only = false;
  Squash squash = Squash::root;
  uint32_t anonymous_uid = 65534, anonymous_gid = 65534;
  // Not empty: it is not here but there, and clients are sent there (RFC 8881 §11).
  std::vector<Location> locations = {};
};

inline constexpr std::string_view pseudo_volume = ".exports";

class Exports {
 public:
  // Makes what the exports need: volumes, and the directories that they cover; and removes from the pseudo
  // volume what leads nowhere any more. From then on they are in force. One run; it may fault, and is
  // executed again then.
  //   not_directory    something else is at a path
  Outcome<void> apply(fs::FileSystem& fs, state::Run& run, const std::vector<Export>& all);

  // nullptr: the volume is not exported to this client.
  const Export* find(fs::VolumeId volume, const wire::Address& peer) const;
  bool is_exported(fs::VolumeId volume) const;
  InodeId root() const { return places_.root; }
  // The root that covers this directory, or the directory itself.
  InodeId crossed(InodeId directory) const { return places_.crossed(directory); }
  bool is_covered(InodeId directory) const { return places_.mounted.contains(directory); }
  // The directory that this root covers, or the root itself.
  InodeId covered_by(InodeId root) const;
  // A volume is somewhere else, for some clients.
  bool any_absent() const { return places_.any_absent; }
  bool have_mounts() const { return !places_.mounted.empty(); }
  // As they were applied.
  const std::vector<Export>& all() const { return all_; }
  // Counts the changes.
  uint32_t generation() const { return generation_; }

 private:
  struct Places {
    InodeId root;
    bool any_absent = false;
    absl::flat_hash_map<InodeId, InodeId> mounted, covers;
    absl::flat_hash_map<fs::VolumeId, std::vector<Export>> exports;
    InodeId crossed(InodeId directory) const;
  };
  static Outcome<InodeId> find_or_make_volume(fs::FileSystem& fs, state::Run& run, const std::string& name);
  static Outcome<InodeId> find_or_make_path(fs::FileSystem& fs, state::Run& run, const Places& places,
                                            std::string_view path);
  static Outcome<void> remove_others(fs::FileSystem& fs, state::Run& run, const Places& places,
                                     InodeId directory, const std::string& path);

  Places places_;
  std::vector<Export> all_;
  uint32_t generation_ = 0;
};

}  // namespace perdure::nfs4
