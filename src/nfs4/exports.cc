#include "nfs4/exports.h"

#include <algorithm>

#include "fs/create.h"
#include "fs/readdir.h"
#include "fs/remove.h"

namespace perdure::nfs4 {

namespace {

const fs::Principal root_user{.uid = 0, .gid = 0, .groups = {}};

const Export pseudo_export{.path = "/",
                           .volume = std::string(pseudo_volume),
                           .admits = [](const wire::Address&) { return true; },
                           .read_only = true,
                           .squash = Squash::all};

// "/a/b" leads to "/a/b/c", and "/" to everything.
bool leads_to(std::string_view path, std::string_view further) {
  if (path == "/") return true;
  return further.starts_with(path) && (further.size() == path.size() || further[path.size()] == '/');
}

}  // namespace

Outcome<void> Exports::apply(fs::FileSystem& fs, state::Run& run, const std::vector<Export>& all) {
  std::vector<const Export*> in_order;
  for (const Export& e : all) in_order.push_back(&e);
  std::ranges::stable_sort(in_order, {}, &Export::path);  // what is above comes first
  Places places;
  const bool whole = !in_order.empty() && in_order.front()->path == "/";
  places.root =
      TRY(find_or_make_volume(fs, run, whole ? in_order.front()->volume : std::string(pseudo_volume)));
  if (!whole) places.exports[fs::volume_of(places.root)].push_back(pseudo_export);
  for (const Export* e : in_order) {
    const InodeId root = TRY(find_or_make_volume(fs, run, e->volume));
    std::vector<Export>& rules = places.exports[fs::volume_of(root)];
    if (rules.empty() && e->path != "/") {
      const InodeId directory = TRY(find_or_make_path(fs, run, places, e->path));
      places.mounted[directory] = root;
      places.covers[root] = directory;
    }
    rules.push_back(*e);
    places.any_absent |= !e->locations.empty();
  }
  if (!whole) TRY(remove_others(fs, run, places, places.root, "/"));
  run.on_commit([this, places = std::move(places), all = all]() mutable {
    places_ = std::move(places);
    all_ = std::move(all);
    ++generation_;
  });
  return {};
}

Outcome<InodeId> Exports::find_or_make_volume(fs::FileSystem& fs, state::Run& run, const std::string& name) {
  if (const auto found = fs::find_volume(fs, name)) return TRY(fs.volumes.get(run, {*found}))->root;
  uint32_t last = 0;
  fs.volumes.for_each(
      [&](const fs::VolumeRow::Key& key, const fs::VolumeRow&) { last = std::max(last, key.volume.value); });
  return fs::create_volume(fs, run, {.id = fs::VolumeId(last + 1), .name = name});
}

Outcome<InodeId> Exports::find_or_make_path(fs::FileSystem& fs, state::Run& run, const Places& places,
                                            std::string_view path) {
  InodeId directory = places.root;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(name.size());
    fs::CreateRequest request{.type = fs::FileType::directory, .mode = fs::CreateMode::unchecked};
    request.attributes.mode = 0755;
    const fs::Created there = TRY(fs::create(fs, run, root_user, places.crossed(directory), name, request));
    if (there.type != fs::FileType::directory) return Status::not_directory;
    directory = there.inode;
  }
  return directory;
}

// In the pseudo volume: what leads to none of the exports, and is none.
Outcome<void> Exports::remove_others(fs::FileSystem& fs, state::Run& run, const Places& places,
                                     InodeId directory, const std::string& path) {
  std::vector<std::pair<std::string, InodeId>> entries;
  constexpr size_t expected = 64;
  TRY(fs::readdir(fs, run, root_user, directory, 0, fs::Ahead::entries, expected,
                  [&](const fs::ListedEntry& entry) -> Outcome<bool> {
                    entries.emplace_back(entry.name, entry.inode);
                    return true;
                  }));
  for (const auto& [name, inode] : entries) {
    if (places.mounted.contains(inode)) continue;
    const std::string below = (path == "/" ? "" : path) + "/" + name;
    TRY(remove_others(fs, run, places, inode, below));
    const bool leads = std::ranges::any_of(places.exports, [&](const auto& of_volume) {
      return std::ranges::any_of(of_volume.second, [&](const Export& e) { return leads_to(below, e.path); });
    });
    if (!leads) TRY(fs::remove(fs, run, root_user, directory, name));
  }
  return {};
}

const Export* Exports::find(fs::VolumeId volume, const wire::Address& peer) const {
  auto it = places_.exports.find(volume);
  if (it == places_.exports.end()) return nullptr;
  auto rule = std::ranges::find_if(it->second, [&](const Export& e) { return e.admits(peer); });
  return rule == it->second.end() ? nullptr : &*rule;
}

bool Exports::is_exported(fs::VolumeId volume) const {
  return places_.exports.contains(volume);
}

InodeId Exports::Places::crossed(InodeId directory) const {
  auto it = mounted.find(directory);
  return it == mounted.end() ? directory : it->second;
}

InodeId Exports::covered_by(InodeId root) const {
  auto it = places_.covers.find(root);
  return it == places_.covers.end() ? root : it->second;
}

}  // namespace perdure::nfs4
