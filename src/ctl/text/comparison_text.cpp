#include "ctl/text/comparison_text.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/units.hpp"
#include "ctl/text/printable_text.hpp"
#include "ctl/text/text_table.hpp"

namespace vmad::ctl {
namespace {

using access::Change;
using access::ContentBytes;

/// The finest that was compared.
const ContentBytes& finest(const access::DiskComparison& disk) {
    return disk.blocks ? *disk.blocks : disk.content;
}

struct Totals {
    ContentBytes regions;
    ContentBytes finest;
    std::uint64_t new_stored_bytes = 0;

    /// What the newer archive has and the older one has not.
    static std::uint64_t gained(const ContentBytes& bytes) {
        return bytes[Change::changed] + bytes[Change::added];
    }
    [[nodiscard]] std::uint64_t newer_bytes() const { return regions[Change::equal] + gained(regions); }
};

Totals totals_of(const ArchiveDifference& difference) {
    Totals totals;
    for (const auto& disk : difference.disks) {
        totals.regions.add(disk.comparison.content);
        totals.finest.add(finest(disk.comparison));
        totals.new_stored_bytes += disk.comparison.new_stored_bytes;
    }
    return totals;
}

// ---- table ----

std::string size_cell(std::uint64_t bytes) { return bytes == 0 ? "-" : base::format_size(bytes); }

void add_row(TextTable& table, const std::string& name, std::uint64_t size_bytes, const ContentBytes& bytes) {
    const auto cell = [&](Change change, Colour colour) {
        return TextTable::Cell{size_cell(bytes[change]), bytes[change] != 0 ? colour : Colour::none};
    };
    table.add({{name},
               {base::format_size(size_bytes)},
               cell(Change::equal, Colour::none),
               cell(Change::changed, Colour::yellow),
               cell(Change::added, Colour::yellow),
               cell(Change::discarded, Colour::none)});
}

/// "  2 ext4, root"
std::string partition_name(const guest::Partition& partition) {
    const auto& known_as = partition.file_system.empty() ? partition.type : partition.file_system;
    const auto& called = partition.label.empty() ? partition.name : partition.label;
    return fmt::format("  {} {}{}{}", partition.number, known_as, called.empty() ? "" : ", ", called);
}

std::string size_note(const access::DiskComparison& disk) {
    if (!disk.before_bytes) return "only in the newer archive";
    if (!disk.after_bytes) return "only in the older archive";
    if (*disk.before_bytes == *disk.after_bytes) return "";
    const bool grew = *disk.before_bytes < *disk.after_bytes;
    const auto [least, most] = std::minmax(*disk.before_bytes, *disk.after_bytes);
    return fmt::format("{} by {}", grew ? "grown" : "shrunk", base::format_size(most - least));
}

void add_disk(TextTable& table, const ComparedDisk& disk) {
    const auto& comparison = disk.comparison;
    const auto& file_system = disk.table.file_system;
    add_row(table, fmt::format("{}{}{}", comparison.name, file_system.empty() ? "" : " ", file_system),
            comparison.after_bytes.value_or(comparison.before_bytes.value_or(0)), finest(comparison));
    table.add_note(size_note(comparison));
    for (std::size_t i = 0; i < disk.table.partitions.size(); ++i)
        add_row(table, partition_name(disk.table.partitions[i]), disk.table.partitions[i].bytes,
                comparison.parts[i].content);
}

const char* config_word(Change change) {
    if (change == Change::added) return "only in the newer archive";
    if (change == Change::discarded) return "only in the older archive";
    return "changed";
}

std::string disks_text(const ArchiveDifference& difference, const Console& console) {
    using Align = TextTable::Align;
    TextTable table({{"DISK", Align::left, true},
                     {"SIZE", Align::right},
                     {"EQUAL", Align::right},
                     {"CHANGED", Align::right},
                     {"NEW", Align::right},
                     {"DISCARDED", Align::right}});
    for (const auto& disk : difference.disks) add_disk(table, disk);
    return table.empty() ? "" : table.render(console) + "\n";
}

/// Lines for a paragraph of its own.
std::string paragraph(const std::string& text, const Console& console) {
    std::string result;
    for (const auto& line : wrapped(in_locale(text), console.width())) result += line + "\n";
    return result;
}

std::string sum_text(const ArchiveDifference& difference) {
    const auto totals = totals_of(difference);
    auto text =
        fmt::format("Changed or new: {} of {} of content", base::format_size(Totals::gained(totals.finest)),
                    base::format_size(totals.newer_bytes()));
    if (difference.by_content)
        text +=
            fmt::format(", in regions of 2 MiB with {}", base::format_size(Totals::gained(totals.regions)));
    if (!difference.newer_is_canonical)
        return text +
               ". The newer archive is not canonical: restic and borg add most of it until it is repacked.";
    text += fmt::format("; {} of {} in the newer file. ", base::format_size(totals.new_stored_bytes),
                        base::format_size(difference.newer_file_bytes));
    if (!difference.chunk_bound)
        return text + "restic and borg add somewhat more: whole chunks, also where only a part is new.";
    return text + fmt::format("restic adds at most some {}: whole chunks, also where only a part is new.",
                              base::format_size(*difference.chunk_bound));
}

// ---- map ----

/// What a character of the map stands for; the first that applies.
enum class Cell { changed, partly, discarded, equal, empty };

struct Glyph {
    const char* text;
    const char* ascii;
    Colour colour;
    const char* meaning;
};

const Glyph& glyph(Cell cell) {
    static constexpr std::array<Glyph, 5> kGlyphs{{{"█", "#", Colour::yellow, "changed or new"},
                                                   {"▒", "+", Colour::yellow, "partly so"},
                                                   {"▁", "_", Colour::none, "discarded"},
                                                   {"░", "-", Colour::none, "unchanged"},
                                                   {"·", ".", Colour::none, "empty"}}};
    return kGlyphs[static_cast<std::size_t>(cell)];
}

std::string drawn(Cell cell, std::size_t count, const Console& console) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += locale_is_utf8() ? glyph(cell).text : glyph(cell).ascii;
    return console.paint(glyph(cell).colour, text);
}

constexpr std::size_t kLabelColumns = 10;  // "1000 MiB  "
constexpr std::uint64_t kMaxLines = 8;     // of a disk

struct Scale {
    std::size_t columns;
    std::uint64_t cell_bytes;
};

std::uint64_t disk_bytes(const access::DiskComparison& disk) {
    return std::max(disk.before_bytes.value_or(0), disk.after_bytes.value_or(0));
}

/// Powers of two, so that each line begins at a round number.
Scale scale_of(const ArchiveDifference& difference, const Console& console) {
    Scale scale{std::bit_floor(std::max<std::size_t>(console.width() - kLabelColumns, 8)),
                canon::kRegionBytes};
    std::uint64_t largest = 0;
    for (const auto& disk : difference.disks) largest = std::max(largest, disk_bytes(disk.comparison));
    while (largest / scale.cell_bytes / scale.columns >= kMaxLines) scale.cell_bytes *= 2;
    return scale;
}

/// The cells of a disk: what its ranges cover of each.
std::vector<Cell> cells_of(const access::DiskComparison& disk, std::uint64_t cell_bytes) {
    std::vector<ContentBytes> covered(base::divide_up(disk_bytes(disk), cell_bytes));
    for (const auto& range : disk.ranges)
        for (auto at = range.offset; at < range.offset + range.bytes;) {
            const auto cell = at / cell_bytes;
            const auto end = std::min((cell + 1) * cell_bytes, range.offset + range.bytes);
            covered[cell][range.change] += end - at;
            at = end;
        }
    std::vector<Cell> cells;
    for (const auto& bytes : covered) {
        const auto gained = Totals::gained(bytes);
        cells.push_back(gained == 0                      ? bytes[Change::discarded] != 0 ? Cell::discarded
                                                           : bytes[Change::equal] != 0   ? Cell::equal
                                                                                         : Cell::empty
                        : gained >= bytes[Change::equal] ? Cell::changed
                                                         : Cell::partly);
    }
    return cells;
}

std::string lines_of(const std::vector<Cell>& cells, const Scale& scale, const Console& console) {
    std::string text;
    for (std::size_t begin = 0; begin < cells.size(); begin += scale.columns) {
        text += fmt::format("{:>8}  ", base::format_size(begin * scale.cell_bytes));
        const auto end = std::min(begin + scale.columns, cells.size());
        for (auto i = begin; i < end;) {
            auto next = i;
            while (next < end && cells[next] == cells[i]) ++next;
            text += drawn(cells[i], next - i, console);
            i = next;
        }
        text += "\n";
    }
    return text;
}

std::string legend(const Scale& scale, const Console& console) {
    std::string text;
    for (std::size_t i = 0; i < 5; ++i) {
        const auto cell = static_cast<Cell>(i);
        text += fmt::format("{} {}   ", drawn(cell, 1, console), glyph(cell).meaning);
    }
    return fmt::format("{}\nA character stands for {}.\n", text.substr(0, text.size() - 3),
                       base::format_size(scale.cell_bytes));
}

// ---- JSON ----

const char* change_name(Change change) {
    static constexpr std::array kNames{"equal", "changed", "new", "discarded"};
    return kNames[static_cast<std::size_t>(change)];
}

nlohmann::json bytes_json(const ContentBytes& bytes) {
    nlohmann::json out;
    for (const auto change : {Change::equal, Change::changed, Change::added, Change::discarded})
        out[fmt::format("{}_bytes", change_name(change))] = bytes[change];
    return out;
}

nlohmann::json partition_json(const guest::Partition& partition, const ContentBytes& bytes) {
    auto out = bytes_json(bytes);
    out.update({{"number", partition.number},
                {"offset", partition.offset},
                {"size_bytes", partition.bytes},
                {"type", partition.type},
                {"name", partition.name},
                {"file_system", partition.file_system},
                {"label", partition.label}});
    return out;
}

nlohmann::json disk_json(const ComparedDisk& disk, bool with_ranges) {
    const auto& comparison = disk.comparison;
    const auto or_null = [](const std::optional<std::uint64_t>& number) {
        return number ? nlohmann::json(*number) : nlohmann::json();
    };
    nlohmann::json out{{"name", comparison.name},
                       {"older_size_bytes", or_null(comparison.before_bytes)},
                       {"newer_size_bytes", or_null(comparison.after_bytes)},
                       {"regions", bytes_json(comparison.content)},
                       {"new_stored_bytes", comparison.new_stored_bytes},
                       {"partition_table", disk.table.type},
                       {"file_system", disk.table.file_system},
                       {"partitions", nlohmann::json::array()}};
    if (comparison.blocks) out["blocks"] = bytes_json(*comparison.blocks);
    for (std::size_t i = 0; i < disk.table.partitions.size(); ++i)
        out["partitions"].push_back(partition_json(disk.table.partitions[i], comparison.parts[i].content));
    if (!with_ranges) return out;
    out["ranges"] = nlohmann::json::array();
    for (const auto& range : comparison.ranges)
        out["ranges"].push_back(
            {{"offset", range.offset}, {"size_bytes", range.bytes}, {"change", change_name(range.change)}});
    return out;
}

}  // namespace

bool ArchiveDifference::is_equal() const {
    return configs.empty() && std::none_of(disks.begin(), disks.end(), [](const ComparedDisk& disk) {
               return disk.comparison.differs();
           });
}

std::string comparison_text(const ArchiveDifference& difference, const Console& console) {
    auto text = disks_text(difference, console);
    for (const auto& config : difference.configs)
        text += paragraph(fmt::format("config {}: {}", printable(config.name), config_word(config.change)),
                          console);
    if (difference.is_equal())
        text += "The archives have the same content";
    else if (!difference.disks.empty())
        text += paragraph(sum_text(difference), console);
    if (difference.is_equal()) text += ".\n";
    return text + (difference.by_content ? "Compared by content, in blocks of 4 KiB.\n"
                                         : "Compared by the checksums of regions of 2 MiB.\n");
}

std::string map_text(const ArchiveDifference& difference, const Console& console) {
    if (difference.disks.empty()) return "";
    const auto scale = scale_of(difference, console);
    std::string text;
    for (const auto& disk : difference.disks)
        text += printable(disk.comparison.name) + "\n" +
                lines_of(cells_of(disk.comparison, scale.cell_bytes), scale, console) + "\n";
    return text + legend(scale, console);
}

nlohmann::json to_json(const ArchiveDifference& difference, bool with_ranges) {
    const auto totals = totals_of(difference);
    nlohmann::json out{{"older", difference.older},
                       {"newer", difference.newer},
                       {"equal", difference.is_equal()},
                       {"compared", difference.by_content ? "content" : "checksums"},
                       {"regions", bytes_json(totals.regions)},
                       {"new_stored_bytes", totals.new_stored_bytes},
                       {"disks", nlohmann::json::array()},
                       {"configs", nlohmann::json::array()}};
    if (difference.by_content) out["blocks"] = bytes_json(totals.finest);
    if (difference.chunk_bound) out["restic_bytes_at_most"] = *difference.chunk_bound;
    for (const auto& disk : difference.disks) out["disks"].push_back(disk_json(disk, with_ranges));
    for (const auto& config : difference.configs)
        out["configs"].push_back({{"name", config.name}, {"change", change_name(config.change)}});
    return out;
}

}  // namespace vmad::ctl
