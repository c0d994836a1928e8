// Law: whatever is in Proxmox VE's files and in names, reading them ends, and what it finds is fit for use:
// storages have absolute paths and unique ids, backups lie in dump directories, warnings name lines that
// there are. Another hook script can be put into any vzdump.conf, is found there, and is gone without a trace
// when it is taken out.
#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "fuzz_target.hpp"
#include "pve/backup_jobs.hpp"
#include "pve/backup_name.hpp"
#include "pve/guest_config.hpp"
#include "pve/section_config.hpp"
#include "pve/storage_config.hpp"
#include "pve/vzdump_config.hpp"
#include "pve/vzdump_lock.hpp"

namespace vmad::fuzz {
namespace {

constexpr char kPath[] = "/etc/pve/f.cfg";

void check_warnings(const std::vector<std::string>& warnings, std::string_view text) {
    const auto lines = static_cast<unsigned long>(std::count(text.begin(), text.end(), '\n')) + 1;
    for (const auto& warning : warnings) {
        require(warning.starts_with(std::string(kPath) + ':'), "a warning names the file");
        const auto line = std::strtoul(warning.c_str() + sizeof kPath, nullptr, 10);
        require(line >= 1 && line <= lines, "a warning names a line");
        require(warning.find('\n') == std::string::npos, "a warning is one line");
    }
}

void check_storages(std::string_view text) {
    const auto config = pve::StorageConfig::parse(text, kPath, "node");
    check_warnings(config.warnings(), text);
    std::set<std::string> ids;
    for (const auto& storage : config.storages()) {
        require(ids.insert(storage.id).second, "ids are unique");
        require(storage.path.starts_with('/'), "the path of a storage is absolute");
        require(storage.dump_directory.starts_with(storage.path), "the dump directory lies below it");
        require(config.file_storage(storage.id) == storage, "a storage is found by its id");
        require(config.path_of({storage.id, "vzdump-qemu-1-2026_01_02-03_04_05.vma"}) ==
                    (storage.dump_directory == "/" ? "" : storage.dump_directory) +
                        "/vzdump-qemu-1-2026_01_02-03_04_05.vma",
                "a backup lies in the dump directory");
    }
    require(ids.contains("local") || !config.warnings().empty(), "where local is not there, it is told why");
}

void check_volume(std::string_view text) {
    (void)pve::content_of_volume(text);
    const auto volume = pve::parse_volume_id(text);
    if (!volume) return;
    require(volume->storage + ":backup/" + volume->name == text, "a volume id is its parts");
    const auto config =
        pve::StorageConfig::parse("dir: " + volume->storage + "\n\tpath /mnt/x\n", kPath, "node");
    try {
        const auto path = config.path_of(*volume);
        const auto& storage = config.file_storage(volume->storage);
        require(path.starts_with(storage.dump_directory + '/') &&
                    path.find('/', storage.dump_directory.size() + 1) == path.npos && !path.ends_with("/.."),
                "a backup is an entry of the dump directory");
    } catch (const base::Error&) {
    }
}

void check_jobs(std::string_view text) {
    const auto jobs = pve::backup_jobs_with_script(text, kPath, "node");
    check_warnings(jobs.warnings, text);
    for (const auto& job : jobs.jobs) require(!job.script.empty(), "a listed job has a script");
    const auto sections =
        pve::parse_sections(text, kPath, [](const auto&, const auto&) { return std::string(); });
    std::set<std::string> ids;
    for (const auto& section : sections.sections) require(ids.insert(section.id).second, "ids are unique");
}

void check_vzdump(const std::string& text, const std::string& script) {
    const auto before = std::string(pve::vzdump_script(text));
    if (!before.empty()) require(text.find(before) != text.npos, "the script stands in the file");
    if (!pve::can_be_vzdump_script(script)) return;
    const auto with = pve::with_vzdump_script(text, script);
    require(pve::vzdump_script(with) == script, "a script that was put in is found");
    if (!before.empty() && pve::can_be_vzdump_script(before))
        require(pve::with_vzdump_script(with, before) == text,
                "the earlier script is put back without a trace");
    if (before.empty() && text.find("script:") == text.npos)
        require(pve::without_vzdump_script(with) == text, "a script that is taken out leaves no trace");
}

void check_name(const std::string& name) {
    (void)pve::is_container_backup(name);
    const auto parsed = pve::parse_backup_name(name);
    require(pve::vmid_of("/a/" + name) == (parsed ? std::optional(parsed->vmid) : std::nullopt) ||
                name.find('/') != name.npos,
            "a path is judged by its last component");
    if (!parsed) return;
    const auto& time = parsed->time;
    require(time.month >= 1 && time.month <= 12 && time.day >= 1 && time.day <= 31 && time.hour < 24 &&
                time.minute < 60 && time.second < 61,
            "a time is one");
    (void)pve::epoch_seconds(time);
    require(std::any_of(pve::kArchiveEndings.begin(), pve::kArchiveEndings.end(),
                        [&](auto ending) { return name.ends_with(ending); }),
            "a backup has the ending of one");
    const auto earlier = pve::earlier_backups({name, "vzdump-qemu-100-2000_01_01-00_00_00.vma"}, name);
    require(std::find(earlier.begin(), earlier.end(), name) == earlier.end(),
            "no backup is earlier than itself");
}

void run(View bytes) {
    Input input(bytes);
    const auto kind = input.below(7);
    const auto text = input.text();
    const auto line = text.substr(0, text.find('\n'));
    switch (kind) {
        case 0:
            return check_storages(text);
        case 1:
            return check_jobs(text);
        case 2:
            return check_vzdump(text, "/usr/share/vmad/vzdump-hook");
        case 3:
            return check_vzdump(text.substr(line.size()), line);
        case 4:
            return check_name(line);
        case 5:
            return check_volume(line);
        default:
            (void)pve::guest_name(text);
            (void)pve::mapped_disks(text);
            (void)pve::has_flock(text, {8, 1, 1234});
    }
}

std::vector<Bytes> seeds() {
    std::vector<Bytes> result;
    const auto add = [&](char kind, std::string text) { result.push_back(bytes_of(kind + std::move(text))); };
    add(0,
        "dir: local\n\tpath /var/lib/vz\n\tcontent iso,backup\n\nnfs: nas\n\texport /e\n\tserver s\n\tpath "
        "/mnt/pve/nas\n"
        "\tcontent backup\n\tnodes node,b\n\tis_mountpoint yes\n\tcontent-dirs backup=d/x\n\tdisable\n");
    add(0,
        "# c\ncifs: a\n\tpath relative\n\tsubdir /x\nzfspool: z\n\tpool p\n\ncephfs: c\n\tis_mountpoint "
        "/mnt/c\n");
    add(1,
        "vzdump: backup-1\n\tschedule 21:00\n\tscript /usr/local/bin/x\n\tenabled 1\n\tnode node\n\nvzdump: "
        "b\n\tscript /y\n\tenabled 0\n");
    add(2, "# c\n  script: /a/b \nbwlimit: 1\nscript:\t/c");
    add(2, "tmpdir: /t");
    add(3, "/new/script\n script: /old\r\n#script: /x\n");
    add(4, "vzdump-qemu-100-2026_02_28-23_59_59.vma.zst");
    add(4, "vzdump-lxc-100-2026_02_28-23_59_59.tar.zst");
    add(5, "local:backup/vzdump-qemu-100-2026_02_28-23_59_59.vma.gz");
    add(5, "local:iso/x.iso");
    add(6, "name: web\n#qmdump#map:scsi0:drive-scsi0:local-lvm:raw:\n[snap]\nname: other\n");
    add(6, "1: FLOCK  ADVISORY  WRITE 1 08:01:1234 0 EOF\n1: -> FLOCK ADVISORY READ 2 fe:00:99 0 EOF\n");
    return result;
}

const Registration registration({"pve", 300, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
