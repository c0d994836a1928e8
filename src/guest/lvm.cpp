#include "guest/lvm.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/integers.hpp"
#include "base/json_fields.hpp"

namespace vmad::guest {
namespace {

using nlohmann::json;

constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kLabelSectors = 4;  // the label is in one of them
constexpr std::size_t kIdBytes = 32;
constexpr std::uint64_t kMaxMetadataBytes = 16 << 20;
constexpr std::size_t kMaxVolumes = 1024;
constexpr int kMaxDepth = 16;

// ---- the text ----

class MetadataParser {
  public:
    explicit MetadataParser(std::string_view text) : text_(text) {}

    json parse() {
        auto all = section(0);
        if (!text_.empty()) fail();
        return all;
    }

  private:
    [[noreturn]] static void fail() { throw base::Error("the LVM metadata is damaged"); }

    static bool is_word(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               (c != '\0' && std::strchr("_-.+", c) != nullptr);
    }

    /// The next character that is neither space nor comment; 0 at the end, which 0 is, too.
    char peek() {
        for (;;) {
            text_.remove_prefix(std::min(text_.find_first_not_of(" \t\r\n"), text_.size()));
            if (!text_.starts_with('#')) break;
            text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
        }
        if (text_.starts_with('\0')) text_ = {};
        return text_.empty() ? '\0' : text_.front();
    }

    bool take(char c) {
        if (peek() != c) return false;
        text_.remove_prefix(1);
        return true;
    }

    std::string_view word() {
        (void)peek();
        const auto end = std::find_if_not(text_.begin(), text_.end(), is_word);
        const auto length = static_cast<std::size_t>(end - text_.begin());
        if (length == 0) fail();
        const auto found = text_.substr(0, length);
        text_.remove_prefix(length);
        return found;
    }

    json section(int depth) {
        if (depth > kMaxDepth) fail();
        auto all = json::object();
        while (peek() != '\0' && peek() != '}') {
            const std::string name(word());
            if (take('=')) {
                all[name] = value();
                continue;
            }
            if (!take('{')) fail();
            all[name] = section(depth + 1);
            if (!take('}')) fail();
        }
        return all;
    }

    json value() {
        if (!take('[')) return scalar();
        auto items = json::array();
        while (!take(']')) {
            items.push_back(scalar());
            if (!take(',') && peek() != ']') fail();
        }
        return items;
    }

    json scalar() {
        if (take('"')) return quoted();
        const auto number = word();
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
        // Floating-point numbers do not matter to anything here.
        return error == std::errc() && end == number.data() + number.size() ? json(value) : json(number);
    }

    std::string quoted() {
        std::string found;
        for (; !text_.empty() && text_.front() != '"'; text_.remove_prefix(1)) {
            if (text_.front() == '\\') text_.remove_prefix(1);
            if (text_.empty()) fail();
            found += text_.front();
        }
        if (!take('"')) fail();
        return found;
    }

    std::string_view text_;
};

// ---- physical volumes ----

struct PhysicalVolume {
    std::string id;
    const LvmMember* member = nullptr;
    json metadata;  ///< of its volume group; an empty object where it has none
};

/// Bytes of a member that may lie outside of it.
std::optional<std::vector<std::byte>> bytes_of(const LvmMember& member, std::uint64_t offset,
                                               std::uint64_t bytes) {
    if (offset > member.bytes || bytes > member.bytes - offset) return std::nullopt;
    std::vector<std::byte> data(bytes);
    member.read(offset, data);
    return data;
}

bool stands_at(std::span<const std::byte> bytes, std::size_t offset, std::string_view text) {
    return std::memcmp(&bytes[offset], text.data(), text.size()) == 0;
}

/// The text in a metadata area, a ring behind its header of one sector.
std::optional<std::string> metadata_text(const LvmMember& member, std::uint64_t area_offset,
                                         std::uint64_t area_bytes) {
    constexpr std::size_t kLocation = 40;
    const auto header = bytes_of(member, area_offset, kSectorBytes);
    if (!header || !stands_at(*header, 4, " LVM2 x[5A%r0N*>")) return std::nullopt;
    const auto offset = base::load_le<std::uint64_t>(&(*header)[kLocation]);
    const auto bytes = base::load_le<std::uint64_t>(&(*header)[kLocation + 8]);
    if (offset < kSectorBytes || offset >= area_bytes || bytes > area_bytes || bytes > kMaxMetadataBytes)
        return std::nullopt;
    const auto first = std::min(bytes, area_bytes - offset);
    const auto begin = bytes_of(member, area_offset + offset, first);
    const auto rest = bytes_of(member, area_offset + kSectorBytes, bytes - first);
    if (!begin || !rest) return std::nullopt;
    std::string text(reinterpret_cast<const char*>(begin->data()), begin->size());
    return text.append(reinterpret_cast<const char*>(rest->data()), rest->size());
}

/// The one volume group of a text; nothing in it when it makes no sense.
json group_of(const std::string& text) {
    auto groups = json::object();
    try {
        const auto all = parse_lvm_metadata(text);
        for (const auto& [name, group] : all.items())
            if (group.is_object() && group.contains("id") && group["id"].is_string() &&
                group.contains("seqno") && group["seqno"].is_number_integer())
                groups[name] = group;
    } catch (const base::Error&) {
        return json::object();
    }
    return groups;
}

/// Of the first metadata area that has one.
json metadata_of(const LvmMember& member, std::span<const std::byte> locations) {
    constexpr std::size_t kLocationBytes = 16;
    int lists_ended = 0;  // first that of the data areas, then that of the metadata areas
    for (; locations.size() >= kLocationBytes && lists_ended < 2;
         locations = locations.subspan(kLocationBytes)) {
        const auto offset = base::load_le<std::uint64_t>(&locations[0]);
        const auto bytes = base::load_le<std::uint64_t>(&locations[8]);
        lists_ended += offset == 0;
        if (lists_ended != 1 || offset == 0) continue;
        if (const auto text = metadata_text(member, offset, bytes)) return group_of(*text);
    }
    return json::object();
}

std::optional<PhysicalVolume> physical_volume(const LvmMember& member) {
    constexpr std::size_t kIdAndSize = kIdBytes + 8;
    for (std::uint64_t sector = 0; sector < kLabelSectors; ++sector) {
        const auto label = bytes_of(member, sector * kSectorBytes, kSectorBytes);
        if (!label || !stands_at(*label, 0, "LABELONE") || !stands_at(*label, 24, "LVM2 001")) continue;
        const auto header = base::load_le<std::uint32_t>(&(*label)[20]);
        if (header > kSectorBytes - kIdAndSize) return std::nullopt;
        std::string id(reinterpret_cast<const char*>(&(*label)[header]), kIdBytes);
        return PhysicalVolume{std::move(id), &member,
                              metadata_of(member, std::span(*label).subspan(header + kIdAndSize))};
    }
    return std::nullopt;
}

// ---- logical volumes ----

/// Bytes of a logical volume that stand in stripes, each in one piece on its member.
struct Segment {
    struct Stripe {
        ReadAt read;
        std::uint64_t offset;
    };
    std::uint64_t start = 0;
    std::uint64_t bytes = 0;
    std::uint64_t stripe_bytes = 0;  ///< that lie together; of a single stripe, all
    std::vector<Stripe> stripes;

    /// Reads a part at `offset` in the segment, and returns how many bytes.
    std::uint64_t read(std::uint64_t offset, std::span<std::byte> into) const {
        const auto [number, within] = std::pair(offset / stripe_bytes, offset % stripe_bytes);
        const auto& stripe = stripes[number % stripes.size()];
        const auto part = std::min<std::uint64_t>({into.size(), stripe_bytes - within, bytes - offset});
        stripe.read(stripe.offset + number / stripes.size() * stripe_bytes + within, into.first(part));
        return part;
    }
};

/// Reads across the segments, which follow each other without gaps.
void read_segments(const std::vector<Segment>& segments, std::uint64_t offset, std::span<std::byte> into) {
    while (!into.empty()) {
        const auto after =
            std::upper_bound(segments.begin(), segments.end(), offset,
                             [](std::uint64_t at, const Segment& one) { return at < one.start; });
        const auto& segment = *std::prev(after);
        const auto part = segment.read(offset - segment.start, into);
        offset += part;
        into = into.subspan(part);
    }
}

/// The text of an id in the metadata has hyphens; that in a label has not.
std::string without_hyphens(std::string id) {
    std::erase(id, '-');
    return id;
}

class VolumeGroup {
  public:
    /// Throws base::Error and json::exception for metadata that makes no sense.
    VolumeGroup(std::string name, const json& metadata, const std::map<std::string, const LvmMember*>& by_id)
        : name_(std::move(name)),
          metadata_(metadata),
          extent_bytes_(product(sectors(metadata, "extent_size"), kSectorBytes)) {
        for (const auto& [alias, volume] : metadata.at("physical_volumes").items()) {
            const auto found = by_id.find(without_hyphens(volume.at("id").get<std::string>()));
            members_[alias] = {found == by_id.end() ? nullptr : found->second,
                               product(sectors(volume, "pe_start"), kSectorBytes)};
        }
    }

    [[nodiscard]] std::vector<LogicalVolume> volumes() const {
        std::vector<LogicalVolume> found;
        if (!metadata_.contains("logical_volumes")) return found;
        for (const auto& [name, volume] : metadata_.at("logical_volumes").items()) {
            const auto& flags = volume.at("status");
            if (std::find(flags.begin(), flags.end(), "VISIBLE") == flags.end()) continue;
            found.push_back(volume_of(fmt::format("{}/{}", name_, name), volume));
            if (found.size() == kMaxVolumes) break;
        }
        return found;
    }

  private:
    struct Member {
        const LvmMember* member = nullptr;  ///< null when it is not at hand
        std::uint64_t data_offset = 0;
    };

    static std::uint64_t product(std::uint64_t a, std::uint64_t b) {
        const auto result = base::checked_multiply(a, b);
        if (!result) throw base::Error("the LVM metadata is damaged");
        return *result;
    }
    static std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
        const auto result = base::checked_add(a, b);
        if (!result) throw base::Error("the LVM metadata is damaged");
        return *result;
    }
    static std::uint64_t sectors(const json& object, const char* name) {
        return base::Fields(object, "the LVM metadata").get<std::uint64_t>(name);
    }
    std::uint64_t extents(const json& object, const char* name) const {
        return product(sectors(object, name), extent_bytes_);
    }

    LogicalVolume volume_of(std::string name, const json& volume) const {
        LogicalVolume result{std::move(name), 0, {}, {}};
        auto segments = std::make_shared<std::vector<Segment>>();
        const auto count = sectors(volume, "segment_count");
        for (std::uint64_t i = 1; i <= count; ++i) {
            const auto& segment = volume.at(fmt::format("segment{}", i));
            if (extents(segment, "start_extent") != result.bytes)
                throw base::Error("the LVM metadata is damaged");
            result.bytes = sum(result.bytes, extents(segment, "extent_count"));
            if (result.problem.empty()) result.problem = add_segment(*segments, segment);
        }
        if (result.problem.empty() && result.bytes > 0)
            result.read = [segments](std::uint64_t offset, std::span<std::byte> into) {
                read_segments(*segments, offset, into);
            };
        return result;
    }

    /// Returns why it cannot; empty when it can.
    std::string add_segment(std::vector<Segment>& segments, const json& segment) const {
        const auto type = segment.at("type").get<std::string>();
        if (type != "striped" && type != "linear") return fmt::format("vmactl cannot read LVM's {}", type);
        const auto& stripes = segment.at("stripes");
        const auto count = stripes.size() / 2;
        Segment result{extents(segment, "start_extent"), extents(segment, "extent_count"), 0, {}};
        if (count == 0 || result.bytes == 0 || result.bytes % count != 0)
            throw base::Error("the LVM metadata is damaged");
        result.stripe_bytes =
            count == 1 ? result.bytes : product(sectors(segment, "stripe_size"), kSectorBytes);
        if (result.stripe_bytes == 0 || result.bytes / count % result.stripe_bytes != 0)
            throw base::Error("the LVM metadata is damaged");
        for (std::size_t i = 0; i < count; ++i) {
            const auto found = members_.find(stripes.at(2 * i).get<std::string>());
            if (found == members_.end()) throw base::Error("the LVM metadata is damaged");
            const auto& [member, data_offset] = found->second;
            if (member == nullptr) return "one of its physical volumes is missing";
            const auto offset =
                sum(data_offset, product(stripes.at(2 * i + 1).get<std::uint64_t>(), extent_bytes_));
            if (sum(offset, result.bytes / count) > member->bytes)
                return "it lies behind the end of a physical volume";
            result.stripes.push_back({member->read, offset});
        }
        segments.push_back(std::move(result));
        return {};
    }

    std::string name_;
    const json& metadata_;
    std::uint64_t extent_bytes_;
    std::map<std::string, Member> members_;
};

/// The newest metadata of each volume group, by its id: an object with the one section of the group.
std::map<std::string, json> newest_metadata(const std::vector<PhysicalVolume>& volumes) {
    std::map<std::string, json> newest;
    for (const auto& volume : volumes)
        for (const auto& [name, group] : volume.metadata.items()) {
            const auto number = [](const json& of) { return of.at("seqno").get<std::int64_t>(); };
            auto& known = newest[group.at("id").get<std::string>()];
            if (known.is_null() || number(known.begin().value()) < number(group)) known = {{name, group}};
        }
    return newest;
}

}  // namespace

nlohmann::json parse_lvm_metadata(std::string_view text) { return MetadataParser(text).parse(); }

std::vector<LogicalVolume> find_logical_volumes(std::span<const LvmMember> members) {
    std::vector<PhysicalVolume> physical;
    for (const auto& member : members)
        if (auto volume = physical_volume(member)) physical.push_back(std::move(*volume));
    std::map<std::string, const LvmMember*> by_id;
    for (const auto& volume : physical) by_id.emplace(volume.id, volume.member);
    std::vector<LogicalVolume> found;
    for (const auto& [id, metadata] : newest_metadata(physical)) {
        const auto group = metadata.begin();
        try {
            auto volumes = VolumeGroup(group.key(), group.value(), by_id).volumes();
            std::move(volumes.begin(), volumes.end(), std::back_inserter(found));
        } catch (const std::exception&) {  // of a field that is not there, or makes no sense
            found.push_back({group.key(), 0, "the LVM metadata is damaged", {}});
        }
    }
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return found;
}

}  // namespace vmad::guest
