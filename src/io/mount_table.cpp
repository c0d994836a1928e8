#include "io/mount_table.hpp"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <sstream>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"

namespace vmad::io {
namespace {

/// Some thousand mounts; a table of containers does not come near.
constexpr std::size_t kTableLimitBytes = 16 << 20;
/// For the root, whose parent is not in the table.
constexpr int kNoParent = -1;

/// Fields are parted by one space each, and may be empty (a tmpfs with the source "").
std::vector<std::string_view> split(std::string_view line) {
    std::vector<std::string_view> fields;
    for (;;) {
        const auto space = line.find(' ');
        fields.push_back(line.substr(0, space));
        if (space == line.npos) return fields;
        line.remove_prefix(space + 1);
    }
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

/// The kernel writes space, tab, newline, backslash and '#' as a backslash and three octal digits.
std::string unescape(std::string_view field) {
    std::string plain;
    while (!field.empty()) {
        std::size_t used = 1;
        char c = field.front();
        if (c == '\\' && field.size() >= 4 && std::all_of(field.begin() + 1, field.begin() + 4, is_octal)) {
            c = static_cast<char>((field[1] - '0') * 64 + (field[2] - '0') * 8 + (field[3] - '0'));
            used = 4;
        }
        plain += c;
        field.remove_prefix(used);
    }
    return plain;
}

int parse_id(std::string_view field) {
    int id = 0;
    const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), id);
    if (error != std::errc() || end != field.data() + field.size() || id < 0)
        throw base::Error(fmt::format("\"{}\" is not the id of a mount", field));
    return id;
}

}  // namespace

// ID PARENT MAJOR:MINOR ROOT MOUNT_POINT OPTIONS [TAG…] - TYPE SOURCE SUPER_OPTIONS
MountTable::Entry MountTable::parse_line(const std::string& line) {
    constexpr std::size_t kFixedFieldCount = 6;
    const auto fields = split(line);
    const auto fixed_end = fields.begin() + static_cast<long>(std::min(kFixedFieldCount, fields.size()));
    const auto dash = std::find(fixed_end, fields.end(), "-");
    if (fields.end() - dash < 3) throw base::Error("too few fields");
    return {parse_id(fields[0]), parse_id(fields[1]),
            Mount{unescape(fields[4]), std::string(fields[2]), unescape(dash[1]), unescape(dash[2])}};
}

MountTable MountTable::read(FileSystem& fs, const std::string& path) {
    const std::string text = read_small_file(fs, fs.open(path, O_RDONLY), kTableLimitBytes);
    MountTable table;
    std::istringstream lines(text);
    std::size_t line_number = 0;
    for (std::string line; std::getline(lines, line);) {
        ++line_number;
        try {
            table.entries_.push_back(parse_line(line));
        } catch (const base::Error& error) {
            throw base::Error(fmt::format("{}:{}: {}", path, line_number, error.what()));
        }
    }
    std::vector<int> ids;
    for (const Entry& entry : table.entries_) ids.push_back(entry.id);
    std::sort(ids.begin(), ids.end());
    for (Entry& entry : table.entries_)
        if (entry.parent == entry.id || !std::binary_search(ids.begin(), ids.end(), entry.parent))
            entry.parent = kNoParent;
    return table;
}

const MountTable::Entry* MountTable::mounted_on(int parent, std::string_view mount_point) const {
    // The last one: two mounts on the same place of the same mount do not occur, but if, the later is on top.
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Entry& entry) {
        return entry.parent == parent && entry.mount.mount_point == mount_point;
    });
    return found == entries_.rend() ? nullptr : &*found;
}

// Walks the path as the kernel does, stepping onto what is mounted on the mount reached so far. The longest
// mount point alone would do for most tables, but finds mounts that a mount over their parent hides; and the
// order of the lines is no help, since the root is mounted after what was moved into it.
const Mount* MountTable::find(std::string_view absolute_path) const {
    const Entry* reached = nullptr;
    std::size_t steps = 0;
    const auto step_onto = [&](std::string_view place) {
        // A table in which mounts are mounted on each other in a circle must not hold us for ever.
        while (steps <= entries_.size()) {
            const Entry* next = mounted_on(reached ? reached->id : kNoParent, place);
            if (!next) return;
            reached = next;
            ++steps;
        }
    };
    step_onto("/");
    for (std::size_t end = 0; end != absolute_path.npos;) {
        end = absolute_path.find('/', end + 1);
        step_onto(absolute_path.substr(0, end));
    }
    return reached ? &reached->mount : nullptr;
}

const Mount* MountTable::find_device(dev_t device) const {
    const auto number = fmt::format("{}:{}", major(device), minor(device));
    const auto found = std::find_if(entries_.rbegin(), entries_.rend(),
                                    [&](const Entry& entry) { return entry.mount.device == number; });
    return found == entries_.rend() ? nullptr : &found->mount;
}

}  // namespace vmad::io
