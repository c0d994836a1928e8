#include "varlink/protocol.hpp"

#include <fmt/format.h>

#include "base/json_fields.hpp"

namespace vmad::varlink {

using nlohmann::json;

namespace {

/// Text for people; what is not UTF-8 in it is shown as such instead of throwing.
std::string compact(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string describe(const std::string& name, const json& parameters) {
    return parameters.empty() ? name : fmt::format("{} {}", name, compact(parameters));
}

/// What `read` makes of the fields of a message, of which there may be no others. Absent and null mean the
/// same.
template <typename Read>
auto read_message(const json& in, const char* what, Read read) {
    try {
        base::Fields fields(in, what);
        auto message = read(fields);
        fields.refuse_others();
        return message;
    } catch (const base::Error& error) {
        throw ProtocolError(error.what());
    }
}

json parameters_of(base::Fields& fields) { return fields.find<json>("parameters").value_or(json::object()); }

RemoteError standard_error(const char* name, json parameters = json::object()) {
    return RemoteError(fmt::format("{}.{}", kServiceInterface, name), std::move(parameters));
}

}  // namespace

RemoteError::RemoteError(std::string name, json parameters)
    : Error(describe(name, parameters)), name_(std::move(name)), parameters_(std::move(parameters)) {}

void to_json(json& out, const Call& call) {
    out = json{{"method", call.method}};
    if (!call.parameters.empty()) out["parameters"] = call.parameters;
    if (call.more) out["more"] = true;
    if (call.oneway) out["oneway"] = true;
}

void to_json(json& out, const Reply& reply) {
    out = json::object();
    // Unlike in a call the field is always there: some clients insist on it.
    out["parameters"] = reply.parameters;
    if (reply.continues) out["continues"] = true;
    if (!reply.error.empty()) out["error"] = reply.error;
}

void from_json(const json& in, Call& call) {
    call = read_message(in, "call", [](base::Fields& fields) {
        Call read{.method = fields.get<std::string>("method"),
                  .parameters = parameters_of(fields),
                  .more = fields.find<bool>("more").value_or(false),
                  .oneway = fields.find<bool>("oneway").value_or(false)};
        if (fields.find<bool>("upgrade").value_or(false)) fields.refuse("upgrade", "is not supported");
        if (read.more && read.oneway) fields.refuse("more", "and oneway exclude each other");
        return read;
    });
}

void from_json(const json& in, Reply& reply) {
    reply = read_message(in, "reply", [](base::Fields& fields) {
        const auto error = fields.find<std::string>("error");
        Reply read{.parameters = parameters_of(fields),
                   .continues = fields.find<bool>("continues").value_or(false),
                   .error = error.value_or("")};
        if (error && error->empty()) fields.refuse("error", "is empty");
        if (error && read.continues) fields.refuse("error", "and continues exclude each other");
        return read;
    });
}

RemoteError interface_not_found(const std::string& interface) {
    return standard_error("InterfaceNotFound", {{"interface", interface}});
}
RemoteError method_not_found(const std::string& method) {
    return standard_error("MethodNotFound", {{"method", method}});
}
RemoteError method_not_implemented(const std::string& method) {
    return standard_error("MethodNotImplemented", {{"method", method}});
}
RemoteError invalid_parameter(const std::string& parameter) {
    return standard_error("InvalidParameter", {{"parameter", parameter}});
}
RemoteError permission_denied() { return standard_error("PermissionDenied"); }
RemoteError expected_more() { return standard_error("ExpectedMore"); }

}  // namespace vmad::varlink
