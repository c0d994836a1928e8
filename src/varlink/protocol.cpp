#include "varlink/protocol.hpp"

#include <algorithm>
#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

namespace vmad::varlink {

using nlohmann::json;

namespace {

/// Text for people; what is not UTF-8 in it is shown as such instead of throwing.
std::string compact(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string describe(const std::string& name, const json& parameters) {
    return parameters.empty() ? name : fmt::format("{} {}", name, compact(parameters));
}

void check_fields(const json& in, std::string_view what, std::initializer_list<std::string_view> known) {
    if (!in.is_object()) throw ProtocolError(fmt::format("{} is not a JSON object", what));
    for (const auto& [name, value] : in.items()) {
        if (std::find(known.begin(), known.end(), name) == known.end())
            throw ProtocolError(fmt::format("{}: unknown field '{}'", what, name));
    }
}

bool read_flag(const json& in, std::string_view what, const char* name) {
    const auto found = in.find(name);
    if (found == in.end()) return false;
    if (!found->is_boolean()) throw ProtocolError(fmt::format("{}: {} is not a boolean", what, name));
    return found->get<bool>();
}

/// Absent and null both mean that there are none.
json read_parameters(const json& in, std::string_view what) {
    const auto found = in.find("parameters");
    if (found == in.end() || found->is_null()) return json::object();
    if (!found->is_object()) throw ProtocolError(fmt::format("{}: parameters is not an object", what));
    return *found;
}

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
    check_fields(in, "call", {"method", "parameters", "more", "oneway", "upgrade"});
    const auto method = in.find("method");
    if (method == in.end()) throw ProtocolError("call: method is missing");
    if (!method->is_string()) throw ProtocolError("call: method is not a string");
    if (read_flag(in, "call", "upgrade")) throw ProtocolError("call: upgrade is not supported");
    Call read;
    read.method = method->get<std::string>();
    read.parameters = read_parameters(in, "call");
    read.more = read_flag(in, "call", "more");
    read.oneway = read_flag(in, "call", "oneway");
    if (read.more && read.oneway) throw ProtocolError("call: more and oneway exclude each other");
    call = std::move(read);
}

void from_json(const json& in, Reply& reply) {
    check_fields(in, "reply", {"parameters", "continues", "error"});
    Reply read;
    read.parameters = read_parameters(in, "reply");
    read.continues = read_flag(in, "reply", "continues");
    if (const auto error = in.find("error"); error != in.end()) {
        if (!error->is_string()) throw ProtocolError("reply: error is not a string");
        read.error = error->get<std::string>();
        if (read.error.empty()) throw ProtocolError("reply: error is empty");
        if (read.continues) throw ProtocolError("reply: error and continues exclude each other");
    }
    reply = std::move(read);
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
