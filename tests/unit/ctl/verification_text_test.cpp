#include "ctl/text/verification_text.hpp"

#include <cstdlib>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "ctl/text/printable_text.hpp"
#include "support/random.hpp"

using namespace vmad;
using namespace vmad::ctl;
using api::Verdict;

namespace {

constexpr std::int64_t kDay = 86400;
constexpr std::int64_t kNow = 1'709'208'309;  // 2024-02-29
constexpr std::int64_t kEvery = 30 * kDay;

Console console_of(std::size_t columns) {
    ::setenv("COLUMNS", fmt::format("{}", columns).c_str(), 1);
    ::setenv("LC_ALL", "C.UTF-8", 1);
    const Console console;
    ::unsetenv("COLUMNS");
    return console;
}

api::ArchiveRecord record_of(std::uint64_t vmid, const std::string& guest, const std::string& storage,
                             int day, std::optional<std::int64_t> verified_days_ago, Verdict verdict,
                             const std::string& fault = {}) {
    api::ArchiveRecord record;
    record.path =
        fmt::format("/mnt/pve/{}/dump/vzdump-qemu-{}-2024_02_{:02}-02_00_00.vma.zst", storage, vmid, day);
    record.vmid = vmid;
    record.guest = guest;
    record.storage = storage;
    record.backup_at = kNow - (29 - day) * kDay;
    record.size_bytes = 1'288'490'188;
    record.modified_ns = record.backup_at * 1'000'000'000;
    if (verified_days_ago) record.verified_at = kNow - *verified_days_ago * kDay;
    record.verdict = verdict;
    record.fault = fault;
    return record;
}

std::vector<api::ArchiveRecord> some_records() {
    return {
        record_of(100, "db", "local", 1, 12, Verdict::good),
        record_of(100, "db", "local", 2, 3, Verdict::good),
        record_of(101, "files", "local", 1, {}, Verdict::unverified),
        record_of(101, "files", "local", 2, 1, Verdict::good),
        record_of(102, "mail", "nas", 1, 50, Verdict::good),
        record_of(104, "web", "nas", 1, 20, Verdict::damaged, "drive-scsi0 at 1.2 GiB is damaged"),
        record_of(104, "web", "nas", 2, 2, Verdict::good),
    };
}

}  // namespace

TEST_CASE("by guest, damaged ones come first and are named") {
    CHECK(verified_guests_table(some_records(), kEvery, kNow, console_of(80)) ==
          "VMID  GUEST  STORAGE  BACKUPS  VERIFIED  RESULT\n"
          " 104  web    nas            2  20 d ago  1 damaged\n"
          "    /mnt/pve/nas/dump/vzdump-qemu-104-2024_02_01-02_00_00.vma.zst: drive-scsi0\n"
          "    at 1.2 GiB is damaged; last good 20 d ago\n"
          " 102  mail   nas            1  50 d ago  overdue\n"
          " 100  db     local          2  12 d ago  good\n"
          " 101  files  local          2     never  1 not verified\n");
    // Nothing is overdue where nothing is to be verified.
    CHECK(verified_guests_table(some_records(), {}, kNow, console_of(80)).find("overdue") ==
          std::string::npos);
    CHECK(verified_guests_table({}, kEvery, kNow, console_of(80)).empty());
}

TEST_CASE("by archive, damaged ones come first, then the newest") {
    const auto all = some_records();
    CHECK(verified_archives_table({all.begin() + 5, all.end()}, kEvery, kNow, console_of(80)) ==
          "VMID  GUEST  BACKUP       STORAGE  FORMAT     SIZE  VERIFIED  RESULT\n"
          " 104  web    02-01 02:00  nas      zst     1.2 GiB  20 d ago  damaged\n"
          "    /mnt/pve/nas/dump/vzdump-qemu-104-2024_02_01-02_00_00.vma.zst: drive-scsi0\n"
          "    at 1.2 GiB is damaged; last good 20 d ago\n"
          " 104  web    02-02 02:00  nas      zst     1.2 GiB   2 d ago  good\n");
}

TEST_CASE("law: both fit 80 columns, and of one guest no more than five archives are named") {
    testing::Random random(1);
    for (int round = 0; round < 100; ++round) {
        std::vector<api::ArchiveRecord> records;
        for (auto left = random.below(40); left > 0; --left) {
            auto record =
                record_of(100 + random.below(3) * 10'000'000, std::string(random.below(60), 'g'),
                          std::string(random.below(2) * 40, 's'), 1 + static_cast<int>(random.below(28)),
                          static_cast<std::int64_t>(random.below(2000)),
                          static_cast<Verdict>(random.below(3)), std::string(random.below(200), 'f'));
            if (random.below(5) == 0) record.verified_at.reset();
            if (random.below(5) == 0) record.vmid.reset();
            records.push_back(record);
        }
        for (const auto& text : {verified_guests_table(records, kEvery, kNow, console_of(80)),
                                 verified_archives_table(records, kEvery, kNow, console_of(80))})
            for (std::size_t at = 0; at < text.size(); at = text.find('\n', at) + 1)
                CHECK(text_width(text.substr(at, text.find('\n', at) - at)) <= 80);
    }
    std::vector<api::ArchiveRecord> damaged;
    for (int day = 1; day <= 28; ++day)
        damaged.push_back(record_of(100, "db", "local", day, 1, Verdict::damaged, "it is damaged"));
    const auto text = verified_guests_table(damaged, kEvery, kNow, console_of(80));
    CHECK(text.ends_with("    and 23 more\n"));
    CHECK(std::count(text.begin(), text.end(), '\n') == 2 + 5 * 2 + 1);
}
