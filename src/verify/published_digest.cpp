#include "verify/published_digest.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
#include "canon/layout.hpp"
#include "publish/file_identity.hpp"

namespace vmad::verify {
namespace {

constexpr char kAttribute[] = "user.vmad";
/// An attribute of ext4 has to fit a block with all others. 64 bits tell a damage, which is no attack.
constexpr std::size_t kMostDevices = 32;

}  // namespace

io::Attributes published_digest_attribute(const Fingerprint& fingerprint, std::uint64_t size_bytes,
                                          const timespec& modified) {
    nlohmann::json value{{"layout", canon::kLayoutVersion},
                         {"digest", fingerprint.digest.to_hex()},
                         {"size", size_bytes},
                         {"modified", publish::nanoseconds(modified)}};
    if (fingerprint.devices.size() <= kMostDevices)
        for (const auto& [name, digest] : fingerprint.devices)
            value["devices"][name] = digest.to_hex().substr(0, kDeviceDigits);
    return {{kAttribute, value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)}};
}

std::vector<std::string> PublishedDigest::differing_devices(
    const std::map<std::string, canon::Digest>& found) const {
    std::vector<std::string> names;
    for (const auto& [name, present] : found)
        if (const auto known = devices.find(name);
            known != devices.end() && known->second != present.to_hex().substr(0, kDeviceDigits))
            names.push_back(name);
    return names;
}

void PublishedDigest::require(const canon::Digest& found,
                              const std::map<std::string, canon::Digest>& devices_found) const {
    if (found.to_hex() == digest) return;
    const auto names = differing_devices(devices_found);
    throw base::InvalidArchive(
        "content-digest",
        fmt::format("content digest mismatch: {} was damaged since vmad wrote it (expected {}, found {})",
                    names.empty() ? "the archive" : fmt::format("{}", fmt::join(names, ", ")), digest,
                    found.to_hex()));
}

std::optional<PublishedDigest> published_digest(io::FileSystem& fs, const io::File& file) try {
    const auto text = fs.attribute(file, kAttribute);
    if (!text) return std::nullopt;
    const auto status = fs.status(file);
    const auto value = nlohmann::json::parse(*text, nullptr, false);
    if (!value.is_object()) return std::nullopt;
    base::Fields fields(value, kAttribute);
    const bool is_of_file = fields.get<int>("layout") == canon::kLayoutVersion &&
                            fields.get<std::int64_t>("size") == status.st_size &&
                            fields.get<std::int64_t>("modified") == publish::nanoseconds(status.st_mtim);
    if (!is_of_file) return std::nullopt;
    PublishedDigest published{fields.get<std::string>("digest"), {}};
    if (const auto devices = value.find("devices"); devices != value.end() && devices->is_object())
        for (const auto& [name, digits] : devices->items())
            if (digits.is_string()) published.devices.emplace(name, digits.get<std::string>());
    return published;
} catch (const base::SystemError&) {
    return std::nullopt;  // some file systems answer EIO for what they do not have
} catch (const base::FieldError&) {
    // Anybody who may write to the file may write anything here: what cannot be read says nothing.
    return std::nullopt;
}

}  // namespace vmad::verify
