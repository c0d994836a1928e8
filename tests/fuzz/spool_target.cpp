// Law: whatever is in the files of the state directory, the queue and the catalogue load it; each file is a
// job, a record or totals, or is set aside and reported, and the next start has nothing more to report. What
// was loaded is the same after it was written and loaded once more.
#include <nlohmann/json.hpp>

#include "api/archive_record.hpp"
#include "base/error.hpp"
#include "fuzz_target.hpp"
#include "publish/recovery_record.hpp"
#include "queue/catalogue.hpp"
#include "queue/incoming.hpp"
#include "queue/spool.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fuzz {
namespace {

struct Loaded {
    queue::Spool::Contents contents;
    std::vector<queue::BadFile> bad;
    api::Totals totals;
    std::vector<api::ArchiveRecord> records;
    std::vector<std::string> incoming;
};

Loaded load(const support::TemporaryDirectory& directory) {
    io::FileSystem fs;
    queue::Spool spool(fs, directory / "state");
    Loaded loaded;
    loaded.contents = spool.load();
    loaded.bad = loaded.contents.bad;
    loaded.totals = spool.load_totals(loaded.bad);
    const queue::Catalogue catalogue(fs, spool.archives_directory());
    loaded.bad.insert(loaded.bad.end(), catalogue.bad_files().begin(), catalogue.bad_files().end());
    for (const auto& entry : catalogue.entries()) loaded.records.push_back(entry.record);
    const auto accept = [&](const std::string& path) -> std::optional<std::string> {
        loaded.incoming.push_back(path);
        return path.size() % 2 == 0 ? std::nullopt : std::optional<std::string>("odd");
    };
    const auto refused = queue::take_incoming(fs, spool.incoming_directory(), accept);
    loaded.bad.insert(loaded.bad.end(), refused.begin(), refused.end());
    return loaded;
}

void save(const support::TemporaryDirectory& directory, const Loaded& loaded) {
    io::FileSystem fs;
    queue::Spool spool(fs, directory / "state");
    for (const auto& job : loaded.contents.jobs) spool.save(job);
    spool.save_totals(loaded.totals);
    queue::Catalogue catalogue(fs, spool.archives_directory());
    for (auto record : loaded.records) {
        // So that it is written.
        record.size_bytes ^= 1;
        catalogue.put(record);
        record.size_bytes ^= 1;
        catalogue.put(record);
    }
}

void check_recovery(const std::string& text) {
    if (text.empty()) return;
    try {
        const auto record = nlohmann::json::parse(text).get<publish::RecoveryRecord>();
        require(nlohmann::json(record).get<publish::RecoveryRecord>() == record,
                "a recovery record that is read is the same after it was written and read again");
        require(record.temporary.starts_with(".vmad-") && record.old.starts_with(".vmad-") &&
                    record.name.find('/') == std::string::npos,
                "a recovery record names files of ours only, in the archive's directory");
    } catch (const base::Error&) {
    }
}

void run(View bytes) {
    Input input(bytes);
    const char* names[] = {"queue/1.json", "archives/1.json", "totals.json", "incoming/a"};
    const auto* const name = names[input.below(std::size(names))];
    const auto text = input.text();
    const support::TemporaryDirectory directory(scratch());
    (void)load(directory);
    directory.write(std::string("state/") + name, text);
    auto loaded = load(directory);
    const auto known = loaded.contents.jobs.size() + loaded.records.size() + loaded.incoming.size();
    require(known + loaded.bad.size() >= 1 || name == names[2], "a file is known or set aside");
    for (auto& job : loaded.contents.jobs) {
        check_recovery(job.recovery);
        // The spool does not keep it.
        job.progress.reset();
    }
    require(load(directory).bad.empty(), "what was set aside once is not reported again");
    save(directory, loaded);
    const auto again = load(directory);
    require(again.bad.empty() && again.contents.jobs == loaded.contents.jobs &&
                again.totals == loaded.totals && again.records == loaded.records,
            "what was loaded is the same after it was written and loaded again");
}

std::vector<Bytes> seeds() {
    const char* job =
        R"({"id":1,"path":"/mnt/pve/b/dump/vzdump-qemu-100-2026_01_02-03_04_05.vma.zst","kind":"verify",)"
        R"("state":"waiting","waiting_for":"retry","reason":"r","damaged":true,"warning":"w","storage":"s",)"
        R"("vmid":100,"guest":"g","announced":true,"queued_at":1,"started_at":2,"ended_at":3,"end_number":4,)"
        R"("retry_at":5,"attempts":1,"failed_attempts":2,"state_after_recovery":"failed","run_again":false,)"
        R"("refused_file":"f","space_refusal":{"directory":"/d","free_bytes":1,"written_bytes":2,"times":3,)"
        R"("try_again_at":4},"size_before":6,"size_after":7,"since":{"archive":"a","archive_at":1,)"
        R"("new_bytes":2,"disks":[{"disk":"d","bytes":3,"new_bytes":4,"largest":{"offset":5,"bytes":6,)"
        R"("new_bytes":7,"partition":"2 ext4"}}]},"shared_bytes":8,"damage":[{"disk":"d","offset":1,)"
        R"("bytes":2,"partition":"p"}],"last_good_at":9,"mount_point":"/mnt","recovery":{"name":"a",)"
        R"("temporary":".vmad-0123456789abcdef.tmp"},"progress":{"stage":"repacking","done_bytes":1,)"
        R"("total_bytes":2,"bytes_per_second":3,"remaining_seconds":4},"paused":true})";
    const char* record =
        R"({"path":"/a","storage":"s","vmid":1,"guest":"g","backup_at":1,"size_bytes":2,"modified_ns":3,)"
        R"("digest":"00","device_digests":{"d":"11"},"new_bytes":4,"repacked_at":5,"verified_at":6,)"
        R"("looked_at":7,"mount_point":"/","verdict":"damaged","fault":"f","acknowledged":true})";
    const auto deep = R"({"id":1,"path":"/a","state":"queued","announced":true,"queued_at":1,"attempts":0,)"
                      R"("failed_attempts":0,"run_again":false,"recovery":{"a":)" +
                      std::string(20000, '[') + std::string(20000, ']') + "}}";
    std::vector<Bytes> result;
    const auto add = [&](char kind, const std::string& text) { result.push_back(bytes_of(kind + text)); };
    add(0, job);
    add(0, deep);
    add(1, record);
    add(2,
        R"({"done":1,"unchanged":2,"vanished":3,"failed":4,"cancelled":5,"size_before":6,"size_after":7})");
    add(3, std::string("/mnt/a.vma", 11));
    add(3, std::string("mnt\n", 5));
    return result;
}

const Registration registration({"spool", 30, run, seeds});

}  // namespace
}  // namespace vmad::fuzz
