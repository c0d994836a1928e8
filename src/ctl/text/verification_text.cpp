#include "ctl/text/verification_text.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "base/units.hpp"
#include "ctl/text/archive_text.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

using Align = TextTable::Align;
using Every = std::optional<std::int64_t>;

/// Damaged archives that are named below the row of their guest.
constexpr std::size_t kNamedDamaged = 5;

/// The worst first.
enum class Condition { damaged, overdue, unverified, good };

Condition condition_of(const api::ArchiveRecord& record, Every every, std::int64_t now) {
    if (record.verdict == api::Verdict::damaged) return Condition::damaged;
    if (api::is_overdue(record, every, now)) return Condition::overdue;
    return record.verdict == api::Verdict::good ? Condition::good : Condition::unverified;
}

Colour colour_of(Condition condition) {
    switch (condition) {
        case Condition::damaged:
            return Colour::red;
        case Condition::overdue:
            return Colour::yellow;
        case Condition::unverified:
            return Colour::none;
        case Condition::good:
            return Colour::green;
    }
    __builtin_unreachable();
}

const char* word_of(Condition condition) {
    static constexpr std::array<const char*, 4> kWords{"damaged", "overdue", "not verified", "good"};
    return kWords[static_cast<std::size_t>(condition)];
}

std::string verified_text(Every verified_at, std::int64_t now) {
    return verified_at ? relative_time(*verified_at, now) : "never";
}

std::string known(const std::string& text) { return text.empty() ? "-" : text; }

std::string damage_text(const api::ArchiveRecord& record, std::int64_t now) {
    return fmt::format("{}: {}; last good {}", record.path, record.fault,
                       verified_text(record.verified_at, now));
}

/// The archives of a guest on a storage.
class Group {
  public:
    void add(const api::ArchiveRecord& record, Condition condition) {
        ++counts_[static_cast<std::size_t>(condition)];
        if (!newest_ || newest_->backup_at < record.backup_at) newest_ = &record;
        if (!oldest_look_ || record.verified_at < oldest_look_->verified_at) oldest_look_ = &record;
        if (condition == Condition::damaged) damaged_.push_back(&record);
    }
    [[nodiscard]] Condition worst() const {
        const auto found =
            std::find_if(counts_.begin(), counts_.end(), [](auto count) { return count != 0; });
        return static_cast<Condition>(found - counts_.begin());
    }
    void add_row(TextTable& table, std::int64_t now) const {
        const auto total = counts_[0] + counts_[1] + counts_[2] + counts_[3];
        const auto count = counts_[static_cast<std::size_t>(worst())];
        const std::string word = word_of(worst());
        table.add({{newest_->vmid ? fmt::format("{}", *newest_->vmid) : "-"},
                   {known(newest_->guest)},
                   {known(newest_->storage)},
                   {fmt::format("{}", total)},
                   {verified_text(oldest_look_->verified_at, now)},
                   {count == total ? word : fmt::format("{} {}", count, word), colour_of(worst())}});
        for (std::size_t i = 0; i < std::min(damaged_.size(), kNamedDamaged); ++i)
            table.add_note(damage_text(*damaged_[i], now));
        if (damaged_.size() > kNamedDamaged)
            table.add_note(fmt::format("and {} more", damaged_.size() - kNamedDamaged));
    }

  private:
    std::array<std::size_t, 4> counts_{};  ///< by condition
    const api::ArchiveRecord* newest_ = nullptr;
    const api::ArchiveRecord* oldest_look_ = nullptr;  ///< never counts as longest ago
    std::vector<const api::ArchiveRecord*> damaged_;
};

}  // namespace

std::string verified_guests_table(const std::vector<api::ArchiveRecord>& records, Every every,
                                  std::int64_t now, const Console& console) {
    if (records.empty()) return {};
    using Key = std::pair<std::optional<std::uint64_t>, std::string_view>;
    std::map<Key, Group> groups;
    for (const auto& record : records)
        groups[{record.vmid, record.storage}].add(record, condition_of(record, every, now));
    std::vector<std::pair<Condition, const Group*>> rows;
    for (const auto& [key, group] : groups) rows.emplace_back(group.worst(), &group);
    std::stable_sort(rows.begin(), rows.end(), [](const auto& one, const auto& other) {
        return std::min(one.first, Condition::unverified) < std::min(other.first, Condition::unverified);
    });
    TextTable table({{"VMID", Align::right},
                     {.title = "GUEST", .shrinks = true, .keeps_begin = true},
                     {.title = "STORAGE", .shrinks = true, .keeps_begin = true},
                     {"BACKUPS", Align::right},
                     {"VERIFIED", Align::right},
                     {"RESULT"}});
    for (const auto& [worst, group] : rows) group->add_row(table, now);
    return table.render(console);
}

std::string verified_archives_table(const std::vector<api::ArchiveRecord>& records, Every every,
                                    std::int64_t now, const Console& console) {
    if (records.empty()) return {};
    std::vector<std::pair<Condition, const api::ArchiveRecord*>> rows;
    for (const auto& record : records) rows.emplace_back(condition_of(record, every, now), &record);
    std::sort(rows.begin(), rows.end(), [](const auto& one, const auto& other) {
        const auto key = [](const auto& row) {
            const bool is_damaged = row.first == Condition::damaged;
            return std::tuple(!is_damaged, -row.second->backup_at, std::string_view(row.second->path));
        };
        return key(one) < key(other);
    });
    TextTable table({{"VMID", Align::right},
                     {.title = "GUEST", .shrinks = true, .keeps_begin = true},
                     {"BACKUP"},
                     {.title = "STORAGE", .shrinks = true, .keeps_begin = true},
                     {.title = "FORMAT", .drops = true},
                     {.title = "SIZE", .align = Align::right, .drops = true},
                     {"VERIFIED", Align::right},
                     {"RESULT"}});
    for (const auto& [condition, record] : rows) {
        const auto cells = archive_cells(record->path, now);
        table.add({{cells.vmid},
                   {known(record->guest)},
                   {cells.time},
                   {known(record->storage)},
                   {cells.format},
                   {base::format_size(record->size_bytes)},
                   {verified_text(record->verified_at, now)},
                   {word_of(condition), colour_of(condition)}});
        if (condition == Condition::damaged)
            table.add_note(damage_text(*record, now));
        else if (!has_backup_name(record->path))
            table.add_note(record->path);
    }
    return table.render(console);
}

}  // namespace vmad::ctl
